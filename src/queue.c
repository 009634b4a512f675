/*
 * The bounded queue: a ring under one lock, a condition variable for idle workers (not_empty) and
 * one for the acceptor (not_full), and the rule by which workers are woken. The acceptor pushes,
 * workers take, the main thread closes.
 *
 * Why no wake-up is lost. Everything that the rule looks at (the ring, who sleeps, what each worker
 * holds) changes only under the lock, and each of these changes is followed, before the lock is
 * released, by the wake-up that it calls for:
 *
 *  - A worker that holds nothing sleeps on not_empty and looks at the ring under the lock before
 * and after each wait, so a push either is seen by it or finds it among the sleepers and signals
 * it.
 *  - A worker that holds connections sleeps in epoll_wait. If it has room, a push rings its bell,
 * and a bell stays rung until the worker has come to queue_take(), so the place need not be awake
 * to hear it. `rung` is cleared under the lock before the ring is looked at: a later push rings
 * again.
 *  - If no worker has room, nobody is woken, and the connection waits. A worker makes room only by
 *    telling a smaller `held` in queue_take(), where it looks at the ring under the same lock:
 * either it sees the connection, or the push comes after and sees its room.
 *  - One wake-up per push is not enough, as two pushes may choose the same worker, which takes only
 *    QUEUE_TAKE_MAX. So a taker that leaves something wakes the next worker by the same rule.
 * Hence, whenever the lock is free: ring not empty and some worker with room implies that a worker
 * with room has been woken and has not looked yet. Each look takes something or finds the ring
 * empty.
 *  - The acceptor waits for room on not_full and looks before each wait; a take that makes room
 * signals it. Stop and close set their flag under the lock and then wake everybody, sleepers and
 * bells.
 */
#include "echopool/queue.h"

#include <stdlib.h>
#include <unistd.h>

#include "echopool/thread.h"

/* A worker as the queue sees it; under the queue's lock. */
struct place {
	uint32_t held;
	uint32_t worker_connections; /* 0: nobody is here */
	const struct bell *bell;
	bool rung; /* the bell was rung, and the worker has not looked at the queue since */
};

/* All is under lock but limit and place_count, which never change. */
struct queue {
	struct lock lock;
	struct condition not_empty; /* workers that hold nothing */
	struct condition not_full;  /* the acceptor */
	struct arrival *ring;
	uint32_t limit;
	uint32_t head;
	uint32_t count;
	unsigned int sleepers; /* on not_empty */
	bool closed;
	bool stopped;
	bool waiting_ended;
	unsigned int place_count;
	struct place places[];
};

struct queue *queue_new(uint32_t limit, unsigned int places)
{
	struct queue *q = calloc(1, sizeof(*q) + places * sizeof(q->places[0]));

	if (!q)
		return NULL;
	q->ring = calloc(limit, sizeof(q->ring[0]));
	if (!q->ring) {
		free(q);
		return NULL;
	}
	q->limit = limit;
	q->place_count = places;
	lock_init(&q->lock);
	condition_init(&q->not_empty);
	condition_init(&q->not_full);
	return q;
}

/* Removes the oldest arrival; there must be one. */
static struct arrival queue_pop(struct queue *q) REQUIRES(q->lock);
static struct arrival queue_pop(struct queue *q)
{
	struct arrival a = q->ring[q->head];

	q->ring[q->head].fd = -1;
	q->head = q->head + 1 == q->limit ? 0 : q->head + 1;
	q->count--;
	return a;
}

void queue_free(struct queue *q)
{
	lock_acquire(&q->lock);
	while (q->count) {
		struct arrival a = queue_pop(q);

		close(a.fd); /* its bytes were never read, so no error matters to anybody */
	}
	free(q->ring);
	lock_release(&q->lock);
	condition_destroy(&q->not_full);
	condition_destroy(&q->not_empty);
	lock_destroy(&q->lock);
	free(q);
}

void queue_set_place(struct queue *q, unsigned int place, uint32_t worker_connections,
		     const struct bell *bell)
{
	lock_acquire(&q->lock);
	q->places[place] = (struct place){.worker_connections = worker_connections, .bell = bell};
	lock_release(&q->lock);
}

void queue_clear_place(struct queue *q, unsigned int place)
{
	queue_set_place(q, place, 0, NULL);
}

/* The place with room that holds fewest, or NULL. */
static struct place *least_loaded(struct queue *q) REQUIRES(q->lock);
static struct place *least_loaded(struct queue *q)
{
	struct place *best = NULL;

	for (unsigned int i = 0; i < q->place_count; i++) {
		struct place *p = &q->places[i];

		if (p->held < p->worker_connections && (!best || p->held < best->held))
			best = p;
	}
	return best;
}

/* Wakes the worker that should take next, if any has room. */
static void wake_one(struct queue *q) REQUIRES(q->lock);
static void wake_one(struct queue *q)
{
	struct place *p;

	if (q->sleepers) {
		condition_signal(&q->not_empty);
		return;
	}
	p = least_loaded(q);
	if (p && !p->rung) {
		p->rung = true;
		bell_ring(p->bell);
	}
}

static void wake_all(struct queue *q) REQUIRES(q->lock);
static void wake_all(struct queue *q)
{
	condition_broadcast(&q->not_empty);
	for (unsigned int i = 0; i < q->place_count; i++)
		if (q->places[i].bell)
			bell_ring(q->places[i].bell);
}

bool queue_push(struct queue *q, struct arrival *a)
{
	bool room;

	lock_acquire(&q->lock);
	room = q->count < q->limit;
	if (room) {
		/* 64 bits: head + count may pass 2^32. */
		q->ring[((uint64_t)q->head + q->count) % q->limit] = *a;
		q->count++;
		a->fd = -1;
		wake_one(q);
	}
	lock_release(&q->lock);
	return room;
}

uint32_t queue_wait_for_room(struct queue *q)
{
	uint32_t room;

	lock_acquire(&q->lock);
	while (q->count == q->limit && !q->waiting_ended)
		condition_wait(&q->not_full, &q->lock);
	room = q->waiting_ended ? 0 : q->limit - q->count;
	lock_release(&q->lock);
	return room;
}

uint32_t queue_room(struct queue *q)
{
	uint32_t room;

	lock_acquire(&q->lock);
	room = q->limit - q->count;
	lock_release(&q->lock);
	return room;
}

void queue_end_waiting(struct queue *q)
{
	lock_acquire(&q->lock);
	q->waiting_ended = true;
	condition_signal(&q->not_full);
	lock_release(&q->lock);
}

static void take_as_many_as_fit(struct queue *q, struct place *p, struct queue_batch *batch)
	REQUIRES(q->lock);
static void take_as_many_as_fit(struct queue *q, struct place *p, struct queue_batch *batch)
{
	const bool was_full = q->count == q->limit;

	while (q->count && batch->count < QUEUE_TAKE_MAX && p->held < p->worker_connections) {
		batch->arrivals[batch->count++] = queue_pop(q);
		p->held++;
	}
	if (was_full && batch->count)
		condition_signal(&q->not_full);
	if (q->count)
		wake_one(q);
}

void queue_take(struct queue *q, unsigned int place, uint32_t held, struct queue_batch *batch)
{
	struct place *p = &q->places[place];

	batch->count = 0;
	lock_acquire(&q->lock);
	p->held = held;
	p->rung = false;
	while (held == 0 && q->count == 0 && !q->closed) {
		q->sleepers++;
		condition_wait(&q->not_empty, &q->lock);
		q->sleepers--;
	}
	batch->stopped = q->stopped;
	if (!q->stopped)
		take_as_many_as_fit(q, p, batch);
	batch->ended = q->closed && q->count == 0;
	lock_release(&q->lock);
}

void queue_close(struct queue *q)
{
	lock_acquire(&q->lock);
	q->closed = true;
	wake_all(q);
	lock_release(&q->lock);
}

void queue_stop(struct queue *q)
{
	lock_acquire(&q->lock);
	q->closed = true;
	q->stopped = true;
	wake_all(q);
	lock_release(&q->lock);
}

uint32_t queue_waiting(struct queue *q)
{
	uint32_t waiting;

	lock_acquire(&q->lock);
	waiting = q->count;
	lock_release(&q->lock);
	return waiting;
}
