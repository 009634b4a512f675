/*
 * Dispatch: which worker takes what waits in the queue, and which worker is woken for it. The
 * workers take and hand over. The main thread fills and empties their slots, dismisses them and
 * sets the capacity.
 *
 * WHY NO WAKE-UP IS LOST. Which worker must be woken depends on the ring, on which workers sleep,
 * on what each holds and on what was handed to it. All of this changes only under the lock, and the
 * thread that changes it does the wake-up that this calls for before it releases the lock.
 *
 * A worker that holds nothing sleeps on not_empty. It sleeps until there is a connection that it
 * may take, its dismissal, or the end of the queue, and it checks all three under the lock before
 * and after each wait. For a connection one sleeper is signalled; the other two are broadcast.
 *
 * A worker that holds connections sleeps in epoll_wait, and its bell wakes it. `rung` is the one
 * fact behind the bell: the worker will be in queue_take() before it sleeps. It reads `rung` after
 * each turn, and queue_take() clears it under the lock under which it then takes: a later push
 * rings again. The bell's own event only ends a sleep. A worker that has news for the queue sets
 * `rung` for itself; the queue then needs no bell for it.
 *
 * If no worker has room, or all together hold as many as the capacity, an arrival waits. Every
 * worker that does not know this yet is rung (`knows_saturated`). Room comes when a worker reports
 * in queue_take() that it holds fewer. It checks the ring under the same lock: either the arrival
 * is there already and the worker sees it, or the push comes later and sees the room. For this
 * reason a worker that closes a connection rings for itself. If that worker still holds more than
 * its own bound, the room is another's, and it wakes that one.
 *
 * A worker that leaves adds its connections to one list, `handed`, whose room they have already;
 * nothing is done for each of them. The workers that stay take from it as they take arrivals.
 *
 * A worker that works less is given some by another. They are its own at once (`given`), and room
 * for them is not asked again; it takes them in its next queue_take(), to which it is rung. Who
 * leaves, and any while the queue ends, is given none: it may not come there again.
 *
 * One wake-up for each push is not enough, because two pushes may ring the same worker, which takes
 * only its share. So a worker that leaves some behind in queue_take(), and one that leaves for
 * good, wakes the next by the same rule; so does a change of the capacity. Whenever the lock is
 * free this holds: if something waits that some worker may take, then a worker has been woken that
 * has not been in queue_take() since, and there it will take one or wake the next. This comes to an
 * end: a worker is woken only where it would take. Who holds fewest of those that have room would:
 * it holds no more than an equal share. Of all that would, the one is woken that works least.
 *
 * tests/model checks all of it with spin.
 */
#include "echopool/pool/queue_state.h"

/*
 * Whether one more may be served, whoever serves it. The bound of each worker does not suffice:
 * while the pool is resized, and after a hand-over, some hold more than theirs.
 */
static bool has_capacity(const struct queue *q) REQUIRES(q->lock)
{
	return q->held < q->capacity;
}

static bool has_room(const struct queue *q, const struct slot *s) REQUIRES(q->lock)
{
	return s->held < q->worker_connections && has_capacity(q);
}

/* Whether something waits that this worker, which stays, may take, its share aside. */
static bool may_take(const struct queue *q, const struct slot *s) REQUIRES(q->lock)
{
	return q->handed_count || (q->ring.count && has_room(q, s));
}

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

/*
 * The most that a worker may hold and still take one more: an equal share of all connections, and
 * an eighth. So a few connections spread over all workers, and workers that hold many do not wake
 * each other for small differences. There must be a worker.
 */
static uint64_t share(const struct queue *q) REQUIRES(q->lock)
{
	const uint64_t equal = q->held / q->workers;

	return equal + equal / 8;
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

/* Of those that would take what waits, the one that works least. NULL: there is none. */
static struct slot *next_taker(struct queue *q) REQUIRES(q->lock)
{
	const uint64_t now_ns = clock_now_ns(), most = q->workers ? share(q) : 0;
	struct slot *best = NULL;

	for (unsigned int i = 0; i < q->workers; i++) {
		struct slot *s = &q->slots[i];

		if (may_take(q, s) && s->held <= most &&
		    (!best || slot_works_less(s, best, now_ns)))
			best = s;
	}
	return best;
}

static void ring_bell(struct slot *s)
{
	if (atomic_load_explicit(&s->rung, memory_order_relaxed))
		return;
	atomic_store_explicit(&s->rung, true, memory_order_relaxed);
	bell_ring(s->bell);
}

bool queue_is_rung(const struct queue *q, unsigned int slot)
{
	return atomic_load_explicit(&q->slots[slot].rung, memory_order_relaxed);
}

void queue_ring_self(struct queue *q, unsigned int slot)
{
	atomic_store_explicit(&q->slots[slot].rung, true, memory_order_relaxed);
}

void queue_ring_all(struct queue *q)
{
	for (unsigned int i = 0; i < q->workers; i++)
		ring_bell(&q->slots[i]);
}

/* Wakes the worker that should take next. False: none may. */
static bool wake_one(struct queue *q) REQUIRES(q->lock)
{
	struct slot *s;

	if (q->sleepers && (q->handed_count || has_capacity(q))) {
		condition_signal(&q->not_empty);
		return true;
	}
	s = next_taker(q);
	if (s)
		ring_bell(s);
	return s;
}

/* Whoever watches looks from then on by itself: a pool at its limit comes and goes all the time. */
static void tell_watcher(struct queue *q) REQUIRES(q->lock)
{
	const struct bell *watcher = atomic_load_explicit(&q->watcher, memory_order_relaxed);

	if (!watcher || !q->starving.since_ns)
		return;
	atomic_store_explicit(&q->watcher, NULL, memory_order_relaxed);
	bell_ring(watcher);
}

void queue_wake_next(struct queue *q)
{
	const bool stuck = (q->ring.count || q->handed_count) && !wake_one(q);

	spell_set(&q->starving, stuck && q->ring.count);
	if (!stuck)
		return;
	tell_watcher(q);
	for (unsigned int i = 0; i < q->workers; i++)
		if (!q->slots[i].knows_saturated)
			ring_bell(&q->slots[i]);
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
	const uint64_t most = share(q);

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
		ring_bell(&q->slots[i]);
		lock_release(&q->lock);
	}
}

bool queue_call(struct queue *q, unsigned int slot)
{
	bool holds;

	lock_acquire(&q->lock);
	holds = q->slots[slot].held != 0;
	if (holds)
		ring_bell(&q->slots[slot]);
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
		ring_bell(other);
	}
	queue_wake_next(q);
	lock_release(&q->lock);
}
