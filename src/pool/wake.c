/*
 * Which worker is woken for what waits in the queue, and how. All threads call it, under the
 * queue's lock but for the two functions on a worker's own slot.
 *
 * WHY NO WAKE-UP IS LOST. Which worker must be woken depends on the ring, on which workers sleep,
 * on what each holds and on what was handed to it. All of this changes only under the lock, and the
 * thread that changes it does the wake-up that this calls for before it releases the lock.
 *
 * A worker that holds nothing sleeps on not_empty. It sleeps until there is a connection that it
 * may take, one that it was given, its dismissal, or the end of the queue, and it checks all four
 * under the lock before and after each wait. For the first one sleeper is signalled; the others are
 * broadcast.
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

/* Smaller differences of work say nothing of who should take a new one. In thousandths. */
#define WORK_STEP 100U

/* Of those that would take what waits, the one that works least. NULL: there is none. */
static struct slot *next_taker(struct queue *q) REQUIRES(q->lock)
{
	const uint64_t now_ns = clock_now_ns(), most = q->workers ? queue_share(q) : 0;
	struct slot *best = NULL;

	for (unsigned int i = 0; i < q->workers; i++) {
		struct slot *s = &q->slots[i];

		if (may_take(q, s) && s->held <= most &&
		    (!best || slot_works_less(s, best, WORK_STEP, now_ns)))
			best = s;
	}
	return best;
}

void queue_ring(struct slot *s)
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
		queue_ring(&q->slots[i]);
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
		queue_ring(s);
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
			queue_ring(&q->slots[i]);
}
