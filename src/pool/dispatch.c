/*
 * Dispatch: which worker takes what waits in the queue. The workers take and hand over. The main
 * thread fills and empties their slots, dismisses them and sets the capacity. Who is woken for it,
 * and why no wake-up is lost, is in wake.c.
 */
#include "echopool/pool/queue_state.h"

static void tell_saturated(struct queue *q) REQUIRES(q->lock)
{
	atomic_store_explicit(&q->saturated, !has_capacity(q), memory_order_relaxed);
}

static void set_held(struct queue *q, struct slot *s, uint32_t held) REQUIRES(q->lock)
{
	q->held = q->held - s->held + held;
	s->held = held;
	tell_saturated(q);
}

/* The worker that holds fewest; if any has room, it has. NULL: there is no worker. */
static struct slot *least_loaded(struct queue *q) REQUIRES(q->lock)
{
	struct slot *best = NULL;

	for (unsigned int i = 0; i < q->workers; i++)
		if (!best || q->slots[i].held < best->held)
			best = &q->slots[i];
	return best;
}

bool queue_is_saturated(const struct queue *q)
{
	return atomic_load_explicit(&q->saturated, memory_order_relaxed);
}

struct arrival queue_pop(struct queue *q)
{
	struct arrival a;

	/* The queue was full, or over a lowered limit: the acceptor may wait. */
	if (q->ring.count >= q->limit)
		condition_signal(&q->not_full);
	/* Workers that had no capacity for the last arrival wait for the end. */
	if (q->closed && q->ring.count == 1)
		condition_broadcast(&q->not_empty);
	a = ring_pop(&q->ring);
	queue_note_full(q);
	return a;
}

void queue_set_slot(struct queue *q, unsigned int slot, const struct bell *bell)
{
	lock_acquire(&q->lock);
	q->slots[slot] = (struct slot){.bell = bell};
	deadline_list_init(&q->slots[slot].given);
	q->workers = slot + 1;
	lock_release(&q->lock);
}

static void add_handed(struct queue *q, struct deadline_list *connections, uint32_t count)
	REQUIRES(q->lock)
{
	deadline_list_move_all(&q->handed, connections);
	q->handed_count += count;
	q->held += count;
	tell_saturated(q);
}

/*
 * The slot's worker may have been woken for an arrival that it did not take, or been given some
 * before its thread could not be started: wakes another.
 */
void queue_clear_slot(struct queue *q, unsigned int slot)
{
	lock_acquire(&q->lock);
	if (q->workers > slot)
		q->workers = slot;
	set_held(q, &q->slots[slot], 0);
	if (q->slots[slot].given_count)
		add_handed(q, &q->slots[slot].given, q->slots[slot].given_count);
	q->slots[slot].given_count = 0;
	queue_wake_next(q);
	lock_release(&q->lock);
}

void queue_set_capacity(struct queue *q, unsigned int workers, uint32_t worker_connections)
{
	lock_acquire(&q->lock);
	q->capacity = (uint64_t)workers * worker_connections;
	q->worker_connections = worker_connections;
	tell_saturated(q);
	queue_ring_all(q);
	queue_wake_next(q);
	lock_release(&q->lock);
}

static void take_handed(struct queue *q, struct slot *s, struct queue_batch *batch)
	REQUIRES(q->lock)
{
	struct deadline_entry *oldest = deadline_list_oldest(&q->handed);

	deadline_list_remove(oldest);
	deadline_list_insert(&batch->handed, oldest);
	q->handed_count--;
	s->held++;
}

static void take_share(struct queue *q, struct slot *s, struct queue_batch *batch) REQUIRES(q->lock)
{
	const uint64_t most = queue_share(q);

	for (int n = 0; n < QUEUE_TAKE_MAX && s->held <= most && may_take(q, s); n++) {
		if (q->handed_count) {
			take_handed(q, s, batch);
		} else {
			batch->arrivals[batch->count++] = queue_pop(q);
			set_held(q, s, s->held + 1);
		}
	}
}

/*
 * Asks a worker to close a connection for the first arrival that waits. One worker at a time does
 * so: two that look at the same counts would take too much from one address. Nothing is closed
 * while a worker has room: that one has been woken.
 */
static void ask_for_room(struct queue *q, struct slot *s, bool makes_room,
			 struct queue_batch *batch) REQUIRES(q->lock)
{
	batch->saturated = q->ring.count && !has_room(q, least_loaded(q));
	s->knows_saturated = batch->saturated;
	if (!batch->saturated || !makes_room || q->making_room)
		return;
	batch->waiting = ring_at(&q->ring, 0)->counted;
	batch->waiting_since_ns = ring_at(&q->ring, 0)->accepted_ns;
	batch->make_room = true;
	s->makes_room = true;
	q->making_room = true;
}

static bool has_ended(const struct queue *q) REQUIRES(q->lock)
{
	return q->closed && !q->ring.count && !q->handed_count;
}

/* A worker that holds nothing sleeps while it gets nothing and need not end. */
static void sleep_until_needed(struct queue *q, const struct slot *s) REQUIRES(q->lock)
{
	while (!may_take(q, s) && !s->given_count && !is_leaving(q, s) && !has_ended(q) &&
	       !q->stopped) {
		q->sleepers++;
		condition_wait(&q->not_empty, &q->lock);
		q->sleepers--;
	}
}

/*
 * It has closed one, or found none. Before it sleeps: where the pool holds more than its capacity,
 * it may get nothing for the one that it has closed, and another has to make room.
 */
static void end_making_room(struct queue *q, struct slot *s) REQUIRES(q->lock)
{
	if (s->makes_room)
		q->making_room = false;
	s->makes_room = false;
}

/* Forgets what the worker was woken for, and gives it what is its own already. */
static void begin_take(struct queue *q, struct slot *s, struct queue_batch *batch) REQUIRES(q->lock)
{
	deadline_list_move_all(&batch->handed, &s->given);
	s->given_count = 0;
	atomic_store_explicit(&s->rung, false, memory_order_relaxed);
	s->knows_saturated = false;
	batch->leaving = is_leaving(q, s);
	batch->stopped = q->stopped;
}

void queue_take(struct queue *q, unsigned int slot, uint32_t held, bool makes_room,
		struct queue_batch *batch)
{
	struct slot *s = &q->slots[slot];

	batch->count = 0;
	batch->make_room = false;
	batch->saturated = false;
	deadline_list_init(&batch->handed);
	lock_acquire(&q->lock);
	set_held(q, s, held + s->given_count);
	end_making_room(q, s);
	if (held == 0)
		sleep_until_needed(q, s);
	begin_take(q, s, batch);
	if (batch->stopped) {
		deadline_list_move_all(&batch->handed, &q->handed);
		q->handed_count = 0;
	} else if (!batch->leaving) {
		take_share(q, s, batch);
		ask_for_room(q, s, makes_room, batch);
		queue_wake_next(q);
	}
	batch->ended = has_ended(q);
	lock_release(&q->lock);
}

void queue_dismiss(struct queue *q, unsigned int first)
{
	unsigned int end;

	lock_acquire(&q->lock);
	end = q->workers;
	q->workers = first;
	condition_broadcast(&q->not_empty);
	lock_release(&q->lock);
	/* One by one: other workers need not wait for so many bells. */
	for (unsigned int i = first; i < end; i++) {
		lock_acquire(&q->lock);
		queue_ring(&q->slots[i]);
		lock_release(&q->lock);
	}
}

bool queue_call(struct queue *q, unsigned int slot)
{
	bool holds;

	lock_acquire(&q->lock);
	holds = q->slots[slot].held != 0;
	if (holds)
		queue_ring(&q->slots[slot]);
	lock_release(&q->lock);
	return holds;
}

void queue_hand_over(struct queue *q, unsigned int slot, struct deadline_list *connections,
		     uint32_t count)
{
	lock_acquire(&q->lock);
	set_held(q, &q->slots[slot], 0);
	add_handed(q, connections, count);
	queue_wake_next(q);
	lock_release(&q->lock);
}

/* Where a worker sleeps that is given some, nobody else knows: all that hold nothing look. */
void queue_give(struct queue *q, unsigned int slot, unsigned int to,
		struct deadline_list *connections, uint32_t count)
{
	struct slot *s = &q->slots[slot], *other = &q->slots[to];

	lock_acquire(&q->lock);
	set_held(q, s, s->held - count);
	if (is_leaving(q, other) || q->closed) {
		add_handed(q, connections, count);
	} else {
		deadline_list_move_all(&other->given, connections);
		other->given_count += count;
		set_held(q, other, other->held + count);
		condition_broadcast(&q->not_empty);
		queue_ring(other);
	}
	queue_wake_next(q);
	lock_release(&q->lock);
}
