/*
 * Dispatch: which worker takes what waits in the queue, and which worker is woken for it. The
 * workers take and hand over. The main thread fills and empties their slots, dismisses them and
 * sets the capacity.
 *
 * WHY NO WAKE-UP IS LOST. Which worker must be woken depends on the ring, on which workers sleep,
 * on what each holds and on what was handed to it. All of this changes only under the lock, and the
 * thread that changes it does the wake-up that this calls for before it releases the lock.
 *
 * A worker that holds nothing sleeps on not_empty. It sleeps until there is an arrival that it may
 * take, a connection handed to it, its dismissal, or the end of the queue, and it checks all four
 * under the lock before and after each wait. For an arrival one sleeper is signalled. The other
 * three concern one certain worker, or all of them, so they are broadcast.
 *
 * A worker that holds connections sleeps in epoll_wait, and its bell wakes it. `rung` says that the
 * bell was rung and that the worker has not been in queue_take() since; so a worker hears the bell
 * also if it was not asleep. queue_take() clears `rung` under the lock under which it then takes: a
 * later push rings again. A busy worker reads `rung` itself after each turn, because epoll reports
 * the bell only after all connections that were ready before it.
 *
 * If no worker has room, or all together hold as many as the capacity, an arrival waits. Every
 * worker that does not know this yet is rung (`knows_saturated`). Room comes when a worker reports
 * in queue_take() that it holds fewer. It checks the ring under the same lock: either the arrival
 * is there already and the worker sees it, or the push comes later and sees the room. For this
 * reason a worker never sleeps between closing a connection and its next queue_take(). If that
 * worker still holds more than its own bound, the room is another's, and it wakes that one.
 *
 * One wake-up for each push is not enough, because two pushes may ring the same worker, which takes
 * only its share. So a worker that leaves arrivals behind in queue_take(), and one that leaves for
 * good, wakes the next by the same rule; so does a change of the capacity. Whenever the lock is
 * free this holds: if arrivals wait and some worker has room, then a worker has been woken that has
 * not been in queue_take() since, and there it will take one or wake the next. This comes to an
 * end: a worker that takes nothing wakes one that holds fewer, and the one that holds fewest takes.
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
	return s->bell && !s->leaving && s->held < s->worker_connections && has_capacity(q);
}

static void set_held(struct queue *q, struct slot *s, uint32_t held) REQUIRES(q->lock)
{
	q->held = q->held - s->held + held;
	s->held = held;
}

enum room { WITH_ROOM, WITH_OR_WITHOUT_ROOM };

/* The worker that holds fewest, except one and those that leave; NULL if there is none. */
static struct slot *least_loaded(struct queue *q, enum room room, const struct slot *except)
	REQUIRES(q->lock)
{
	struct slot *best = NULL;

	for (unsigned int i = 0; i < q->slots_end; i++) {
		struct slot *s = &q->slots[i];
		const bool fits = room == WITH_ROOM ? has_room(q, s) : s->bell && !s->leaving;

		if (s != except && fits && (!best || s->held < best->held))
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

void queue_ring_all(struct queue *q)
{
	for (unsigned int i = 0; i < q->slots_end; i++)
		if (q->slots[i].bell)
			ring_bell(&q->slots[i]);
}

/* Wakes the worker that should take next. False: none has room. */
static bool wake_one(struct queue *q) REQUIRES(q->lock)
{
	struct slot *s;

	if (q->sleepers && has_capacity(q)) {
		condition_signal(&q->not_empty);
		return true;
	}
	s = least_loaded(q, WITH_ROOM, NULL);
	if (s)
		ring_bell(s);
	return s != NULL;
}

void queue_wake_next(struct queue *q)
{
	if (!q->ring.count || wake_one(q))
		return;
	for (unsigned int i = 0; i < q->slots_end; i++)
		if (q->slots[i].bell && !q->slots[i].knows_saturated)
			ring_bell(&q->slots[i]);
}

struct arrival queue_pop(struct queue *q)
{
	/* The queue was full, or over a lowered limit: the acceptor may wait. */
	if (q->ring.count >= q->limit)
		condition_signal(&q->not_full);
	/* Workers that had no capacity for the last arrival wait for the end. */
	if (q->closed && q->ring.count == 1)
		condition_broadcast(&q->not_empty);
	return ring_pop(&q->ring);
}

/* The slot's worker may have been woken for an arrival that it did not take: wakes another. */
static void clear_slot(struct queue *q, unsigned int slot) REQUIRES(q->lock)
{
	set_held(q, &q->slots[slot], 0);
	q->slots[slot] = (struct slot){0};
	while (q->slots_end && !q->slots[q->slots_end - 1].bell)
		q->slots_end--;
	queue_wake_next(q);
}

void queue_set_slot(struct queue *q, unsigned int slot, uint32_t worker_connections,
		    const struct bell *bell)
{
	lock_acquire(&q->lock);
	q->slots[slot] = (struct slot){.worker_connections = worker_connections, .bell = bell};
	if (slot >= q->slots_end)
		q->slots_end = slot + 1;
	lock_release(&q->lock);
}

void queue_clear_slot(struct queue *q, unsigned int slot)
{
	lock_acquire(&q->lock);
	clear_slot(q, slot);
	lock_release(&q->lock);
}

void queue_set_capacity(struct queue *q, unsigned int workers, uint32_t worker_connections)
{
	lock_acquire(&q->lock);
	q->capacity = (uint64_t)workers * worker_connections;
	for (unsigned int i = 0; i < q->slots_end; i++)
		q->slots[i].worker_connections = worker_connections;
	queue_ring_all(q);
	queue_wake_next(q);
	lock_release(&q->lock);
}

/*
 * The most that a worker may hold and still take one more: what the least loaded of the others
 * holds, and an eighth. So a few connections spread over all workers, and workers that hold many do
 * not wake each other for small differences.
 */
static uint32_t fair_share(struct queue *q, const struct slot *s) REQUIRES(q->lock)
{
	const struct slot *other;

	/* Sleepers hold nothing. In a large pool this saves the search. */
	if (q->sleepers)
		return 0;
	other = least_loaded(q, WITH_ROOM, s);
	return other ? other->held + other->held / 8 : UINT32_MAX;
}

static void take_share(struct queue *q, struct slot *s, struct queue_batch *batch) REQUIRES(q->lock)
{
	const uint32_t share = q->ring.count ? fair_share(q, s) : 0;

	while (q->ring.count && batch->count < QUEUE_TAKE_MAX && has_room(q, s) &&
	       s->held <= share) {
		batch->arrivals[batch->count++] = queue_pop(q);
		set_held(q, s, s->held + 1);
	}
}

/*
 * Asks a worker to close connections for arrivals that wait, except those for which another worker
 * is making room already. Nothing is closed while a worker has room: that one has been woken.
 */
static void ask_to_evict(struct queue *q, struct slot *s, uint32_t offered,
			 struct queue_batch *batch) REQUIRES(q->lock)
{
	const uint32_t wanted = q->ring.count > q->evicting ? q->ring.count - q->evicting : 0;

	batch->saturated = q->ring.count && !least_loaded(q, WITH_ROOM, NULL);
	s->knows_saturated = batch->saturated;
	if (!batch->saturated)
		return;
	batch->evict = offered < wanted ? offered : wanted;
	s->evicting = batch->evict;
	q->evicting += batch->evict;
}

/* Whether a worker that holds nothing gets nothing now and need not end. */
static bool must_sleep(const struct queue *q, const struct slot *s) REQUIRES(q->lock)
{
	const bool takes = q->ring.count && has_room(q, s);
	const bool ends = q->stopped || (q->closed && q->ring.count == 0);

	return !takes && !ends && !s->handed && !s->leaving;
}

static void sleep_until_needed(struct queue *q, struct slot *s) REQUIRES(q->lock)
{
	while (must_sleep(q, s)) {
		q->sleepers++;
		s->asleep = true;
		condition_wait(&q->not_empty, &q->lock);
		s->asleep = false;
		q->sleepers--;
	}
}

/* Gives a worker what is meant for it alone, and forgets what it was woken and asked for. */
static void give_own(struct queue *q, struct slot *s, struct queue_batch *batch) REQUIRES(q->lock)
{
	atomic_store_explicit(&s->rung, false, memory_order_relaxed);
	s->knows_saturated = false;
	q->evicting -= s->evicting;
	s->evicting = 0;
	batch->handed = s->handed;
	s->handed = NULL;
	s->handed_count = 0;
	batch->leaving = s->leaving;
	batch->stopped = q->stopped;
}

void queue_take(struct queue *q, unsigned int slot, uint32_t held, uint32_t offered,
		struct queue_batch *batch)
{
	struct slot *s = &q->slots[slot];

	batch->count = 0;
	batch->evict = 0;
	batch->saturated = false;
	lock_acquire(&q->lock);
	set_held(q, s, held + s->handed_count);
	if (held == 0)
		sleep_until_needed(q, s);
	give_own(q, s, batch);
	if (!q->stopped && !s->leaving) {
		take_share(q, s, batch);
		ask_to_evict(q, s, offered, batch);
		queue_wake_next(q);
	}
	batch->ended = q->closed && q->ring.count == 0;
	lock_release(&q->lock);
}

/* Wakes a certain worker, wherever it sleeps. */
static void wake(struct queue *q, struct slot *s) REQUIRES(q->lock)
{
	if (s->asleep)
		condition_broadcast(&q->not_empty);
	else
		ring_bell(s);
}

void queue_dismiss(struct queue *q, unsigned int slot)
{
	lock_acquire(&q->lock);
	q->slots[slot].leaving = true;
	wake(q, &q->slots[slot]);
	lock_release(&q->lock);
}

void queue_hand_over(struct queue *q, unsigned int slot, struct queue_link *links)
{
	lock_acquire(&q->lock);
	while (links) {
		struct queue_link *link = links;
		struct slot *s = least_loaded(q, WITH_OR_WITHOUT_ROOM, NULL);

		links = link->next;
		link->next = s->handed;
		s->handed = link;
		s->handed_count++;
		set_held(q, s, s->held + 1);
		wake(q, s);
	}
	clear_slot(q, slot);
	lock_release(&q->lock);
}
