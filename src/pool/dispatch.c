/*
 * Who takes what waits: the workers' side of the queue, and the rule by which they are woken.
 * Workers take and hand over, the main thread gives them their places, dismisses them and says what
 * they may hold; a push wakes one.
 *
 * Why no wake-up is lost. Everything that the rule looks at (the ring, who sleeps, what each worker
 * holds, what was handed to it) changes only under the lock, and each of these changes is followed,
 * before the lock is released, by the wake-up that it calls for:
 *
 *  - A worker that holds nothing sleeps on not_empty. It waits for: ring not empty and capacity to
 *    spare, or its own hand-over list not empty, or leave, or end; and looks at all of them under
 *    the lock before and after each wait. A push signals a sleeper; the others, which concern one
 *    certain worker or all, broadcast.
 *  - A worker that holds connections sleeps in epoll_wait. If it has room, a push rings its bell,
 *    and a bell stays rung until the worker has come to queue_take(), so the worker need not be
 *    asleep to hear it. `rung` is cleared under the lock before anything is looked at: a later push
 *    rings again. A worker that is busy sees `rung` itself after each turn, as epoll would tell of
 *    the bell only after all connections that were ready before it.
 *  - If no worker has room, or all together hold as many as they may, the connection waits, and
 *    every worker that does not know yet that others wait is rung (`pressed` is what it knows). A
 *    worker makes room only by telling a smaller `held` in queue_take(), where it looks at the ring
 *    under the same lock: either it sees the connection, or the push comes after and sees its room.
 *    So it never sleeps between ending a connection and telling it. The room may be another's, if
 *    it still holds more than its own bound: then it wakes that one.
 *  - One wake-up per push is not enough, as two pushes may choose the same worker, which takes only
 *    its share. So a taker that leaves something, and a worker that leaves for good, wakes the next
 *    by the same rule. Hence, whenever the lock is free: ring not empty and some worker with room
 *    implies that a worker has been woken, and has not looked yet, that will take or pass on. Who
 *    holds fewest takes something when it looks; who takes nothing has woken one that holds fewer.
 *
 * tests/model checks the same with spin.
 */
#include "echopool/pool/queue_state.h"

/*
 * Whether one more may be served, whoever serves it. Each worker has its own bound too, but while
 * the pool is resized, and after connections were handed over, some hold more than theirs.
 */
static bool has_capacity(const struct queue *q) REQUIRES(q->lock);
static bool has_capacity(const struct queue *q)
{
	return q->held < q->capacity;
}

static bool has_room(const struct queue *q, const struct place *p) REQUIRES(q->lock);
static bool has_room(const struct queue *q, const struct place *p)
{
	return p->bell && !p->leaving && p->held < p->worker_connections && has_capacity(q);
}

static void set_held(struct queue *q, struct place *p, uint32_t held) REQUIRES(q->lock);
static void set_held(struct queue *q, struct place *p, uint32_t held)
{
	q->held = q->held - p->held + held;
	p->held = held;
}

/* The place with room that holds fewest, other than except; or NULL. */
static struct place *least_loaded(struct queue *q, const struct place *except) REQUIRES(q->lock);
static struct place *least_loaded(struct queue *q, const struct place *except)
{
	struct place *best = NULL;

	for (unsigned int i = 0; i < q->places_end; i++) {
		struct place *p = &q->places[i];

		if (p != except && has_room(q, p) && (!best || p->held < best->held))
			best = p;
	}
	return best;
}

static void ring(struct place *p)
{
	if (atomic_load_explicit(&p->rung, memory_order_relaxed))
		return;
	atomic_store_explicit(&p->rung, true, memory_order_relaxed);
	bell_ring(p->bell);
}

bool queue_is_rung(const struct queue *q, unsigned int place)
{
	return atomic_load_explicit(&q->places[place].rung, memory_order_relaxed);
}

void queue_ring_all(struct queue *q)
{
	for (unsigned int i = 0; i < q->places_end; i++)
		if (q->places[i].bell)
			ring(&q->places[i]);
}

/* Wakes the worker that should take next. False: none has room. */
static bool wake_one(struct queue *q) REQUIRES(q->lock);
static bool wake_one(struct queue *q)
{
	struct place *p;

	if (q->sleepers && has_capacity(q)) {
		condition_signal(&q->not_empty);
		return true;
	}
	p = least_loaded(q, NULL);
	if (p)
		ring(p);
	return p != NULL;
}

void queue_wake_next(struct queue *q)
{
	if (!q->ring.count || wake_one(q))
		return;
	for (unsigned int i = 0; i < q->places_end; i++)
		if (q->places[i].bell && !q->places[i].pressed)
			ring(&q->places[i]);
}

struct arrival queue_pop(struct queue *q)
{
	/* It was full, or over a lowered limit: the acceptor may wait. */
	if (q->ring.count >= q->limit)
		condition_signal(&q->not_full);
	/* The last one: workers for which there was no capacity wait for the end. */
	if (q->closed && q->ring.count == 1)
		condition_broadcast(&q->not_empty);
	return ring_pop(&q->ring);
}

/* What the worker there was woken for, and did not take, is for another. */
static void clear_place(struct queue *q, unsigned int place) REQUIRES(q->lock);
static void clear_place(struct queue *q, unsigned int place)
{
	set_held(q, &q->places[place], 0);
	q->places[place] = (struct place){0};
	while (q->places_end && !q->places[q->places_end - 1].bell)
		q->places_end--;
	queue_wake_next(q);
}

void queue_set_place(struct queue *q, unsigned int place, uint32_t worker_connections,
		     const struct bell *bell)
{
	lock_acquire(&q->lock);
	q->places[place] = (struct place){.worker_connections = worker_connections, .bell = bell};
	if (place >= q->places_end)
		q->places_end = place + 1;
	lock_release(&q->lock);
}

void queue_clear_place(struct queue *q, unsigned int place)
{
	lock_acquire(&q->lock);
	clear_place(q, place);
	lock_release(&q->lock);
}

void queue_set_capacity(struct queue *q, unsigned int workers, uint32_t worker_connections)
{
	lock_acquire(&q->lock);
	q->capacity = (uint64_t)workers * worker_connections;
	for (unsigned int i = 0; i < q->places_end; i++)
		q->places[i].worker_connections = worker_connections;
	queue_ring_all(q);
	queue_wake_next(q);
	lock_release(&q->lock);
}

/*
 * What the worker at p may hold and still take one more: what the others with room hold, so that a
 * few connections do not come to a few workers only; and an eighth more, which keeps wake-ups rare
 * where there are many.
 */
static uint32_t fair_share(struct queue *q, const struct place *p) REQUIRES(q->lock);
static uint32_t fair_share(struct queue *q, const struct place *p)
{
	const struct place *other;

	/* Those who sleep hold nothing; in a large pool that saves looking at all. */
	if (q->sleepers)
		return 0;
	other = least_loaded(q, p);
	return other ? other->held + other->held / 8 : UINT32_MAX;
}

static void take_share(struct queue *q, struct place *p, struct queue_batch *batch)
	REQUIRES(q->lock);
static void take_share(struct queue *q, struct place *p, struct queue_batch *batch)
{
	const uint32_t share = q->ring.count ? fair_share(q, p) : 0;

	while (q->ring.count && batch->count < QUEUE_TAKE_MAX && has_room(q, p) &&
	       p->held <= share) {
		batch->arrivals[batch->count++] = queue_pop(q);
		set_held(q, p, p->held + 1);
	}
}

/* For those that wait, less those for whom another worker makes room already. */
static void ask_to_evict(struct queue *q, struct place *p, uint32_t offered,
			 struct queue_batch *batch) REQUIRES(q->lock);
static void ask_to_evict(struct queue *q, struct place *p, uint32_t offered,
			 struct queue_batch *batch)
{
	const uint32_t wanted = q->ring.count > q->evicting ? q->ring.count - q->evicting : 0;

	/* While anyone has room, nobody need go: that worker was woken, and wakes the next. */
	p->pressed = q->ring.count && !least_loaded(q, NULL);
	batch->pressed = p->pressed;
	if (!batch->pressed)
		return;
	batch->evict = offered < wanted ? offered : wanted;
	p->evicting = batch->evict;
	q->evicting += batch->evict;
}

/* Whether a worker that holds nothing has nothing to take and no end to learn of. */
static bool must_sleep(const struct queue *q, const struct place *p) REQUIRES(q->lock);
static bool must_sleep(const struct queue *q, const struct place *p)
{
	const bool takes = q->ring.count && has_room(q, p);
	const bool ends = q->stopped || (q->closed && q->ring.count == 0);

	return !takes && !ends && !p->handed && !p->leaving;
}

/* Takes note of what the worker tells and gives it what was meant for it alone. */
static void meet(struct queue *q, struct place *p, uint32_t held, struct queue_batch *batch)
	REQUIRES(q->lock);
static void meet(struct queue *q, struct place *p, uint32_t held, struct queue_batch *batch)
{
	while (held == 0 && must_sleep(q, p)) {
		q->sleepers++;
		p->asleep = true;
		condition_wait(&q->not_empty, &q->lock);
		p->asleep = false;
		q->sleepers--;
	}
	atomic_store_explicit(&p->rung, false, memory_order_relaxed);
	p->pressed = false;
	q->evicting -= p->evicting;
	p->evicting = 0;
	batch->handed = p->handed;
	p->handed = NULL;
	p->handed_count = 0;
	batch->leaving = p->leaving;
	batch->stopped = q->stopped;
}

void queue_take(struct queue *q, unsigned int place, uint32_t held, uint32_t offered,
		struct queue_batch *batch)
{
	struct place *p = &q->places[place];

	batch->count = 0;
	batch->evict = 0;
	batch->pressed = false;
	lock_acquire(&q->lock);
	set_held(q, p, held + p->handed_count);
	meet(q, p, held, batch);
	if (!q->stopped && !p->leaving) {
		take_share(q, p, batch);
		ask_to_evict(q, p, offered, batch);
		queue_wake_next(q);
	}
	batch->ended = q->closed && q->ring.count == 0;
	lock_release(&q->lock);
}

/* Wakes the worker at p, wherever it sleeps. */
static void wake(struct queue *q, struct place *p) REQUIRES(q->lock);
static void wake(struct queue *q, struct place *p)
{
	if (p->asleep)
		condition_broadcast(&q->not_empty);
	else
		ring(p);
}

void queue_dismiss(struct queue *q, unsigned int place)
{
	lock_acquire(&q->lock);
	q->places[place].leaving = true;
	wake(q, &q->places[place]);
	lock_release(&q->lock);
}

/* Who stays and holds fewest, room or not. */
static struct place *fewest(struct queue *q) REQUIRES(q->lock);
static struct place *fewest(struct queue *q)
{
	struct place *best = NULL;

	for (unsigned int i = 0; i < q->places_end; i++) {
		struct place *p = &q->places[i];

		if (p->bell && !p->leaving && (!best || p->held < best->held))
			best = p;
	}
	return best;
}

void queue_hand_over(struct queue *q, unsigned int place, struct queue_link *links)
{
	lock_acquire(&q->lock);
	while (links) {
		struct queue_link *link = links;
		struct place *p = fewest(q);

		links = link->next;
		link->next = p->handed;
		p->handed = link;
		p->handed_count++;
		set_held(q, p, p->held + 1);
		wake(q, p);
	}
	clear_place(q, place);
	lock_release(&q->lock);
}
