/*
 * The queue's own state, which its four files share: queue.c, where the acceptor pushes and waits;
 * dispatch.c, where workers take and give; wake.c, which says who is woken; rebalance.c, which says
 * who gives to whom. Nobody else includes this.
 */
#ifndef ECHOPOOL_POOL_QUEUE_STATE_H
#define ECHOPOOL_POOL_QUEUE_STATE_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "echopool/base/clock.h"
#include "echopool/base/counter.h"
#include "echopool/base/thread.h"
#include "echopool/pool/queue.h"

/* A worker as the queue sees it. The queue's lock protects all fields except rung. */
struct slot {
	/*
	 * The worker will be in queue_take() before it sleeps. Others set it under the lock and
	 * ring the bell; its worker sets it for itself and reads it without the lock, and clears it
	 * in queue_take(). Relaxed order suffices: a worker that reads it too late wakes for the
	 * bell.
	 */
	alignas(CACHE_LINE_BYTES) atomic_bool rung;
	const struct bell *bell; /* set before the worker's thread begins */
	uint32_t held;           /* as the worker reported, and what it was given since */
	bool makes_room;         /* it closes one for another that waits; it takes next */
	bool knows_saturated;    /* its last batch said saturated */
	uint32_t work;           /* how much of its time it worked lately, in thousandths, */
	uint64_t work_ns;        /* and when it told; old: none */
	uint64_t rebalanced_ns;  /* when it last gave some, or was given */
	struct deadline_list
		given; /* connections that another worker gave it; it takes them first */
	uint32_t given_count;
};

/* The lock protects all fields; see struct slot for rung. */
struct queue {
	struct lock lock;
	struct condition not_empty; /* workers that hold nothing wait on it */
	struct condition not_full;  /* the acceptor waits on it */
	struct ring ring;
	uint32_t limit;
	uint64_t pushed;                      /* since the start */
	struct spell starving;                /* some wait, and no worker may take them */
	_Atomic(const struct bell *) watcher; /* rung once for that; written under the lock */
	struct spell full;
	uint64_t capacity;           /* how many all workers together serve at once */
	uint32_t worker_connections; /* and each */
	uint64_t held;               /* the sum over all slots, and handed_count */
	struct deadline_list handed; /* connections of workers that left; taken before arrivals */
	uint32_t handed_count;
	bool making_room;      /* whether one of the slots does */
	atomic_bool saturated; /* written under the lock; see queue_is_saturated() */
	unsigned int sleepers; /* on not_empty */
	bool closed;
	bool stopped;
	bool interrupted;
	unsigned int workers; /* in slots 0 to workers - 1; who is in a slot behind them leaves */
	struct slot slots[];
};

/* Begins or ends a spell; the clock is read only when it changes. */
static inline void spell_set(struct spell *s, bool now)
{
	uint64_t now_ns;

	if (now == (s->since_ns != 0))
		return;
	now_ns = clock_now_ns();
	if (now)
		s->count++;
	else
		s->ended_ns += now_ns - s->since_ns;
	s->since_ns = now ? now_ns : 0;
}

/* Notes whether as many wait as may; call it after every change of the ring or its limit. */
static inline void queue_note_full(struct queue *q) REQUIRES(q->lock)
{
	spell_set(&q->full, q->ring.count >= q->limit);
	if (!q->ring.count)
		spell_set(&q->starving, false);
}

/* Whether the slot's worker was asked to leave. */
static inline bool is_leaving(const struct queue *q, const struct slot *s) REQUIRES(q->lock)
{
	return s >= &q->slots[q->workers];
}

/*
 * Whether one more may be served, whoever serves it. The bound of each worker does not suffice:
 * while the pool is resized, and after a hand-over, some hold more than theirs.
 */
static inline bool has_capacity(const struct queue *q) REQUIRES(q->lock)
{
	return q->held < q->capacity;
}

static inline bool has_room(const struct queue *q, const struct slot *s) REQUIRES(q->lock)
{
	return s->held < q->worker_connections && has_capacity(q);
}

/* Whether something waits that this worker, which stays, may take, its share aside. */
static inline bool may_take(const struct queue *q, const struct slot *s) REQUIRES(q->lock)
{
	return q->handed_count || (q->ring.count && has_room(q, s));
}

/*
 * The most that a worker may hold and still take one more: an equal share of all connections, and
 * an eighth. So a few connections spread over all workers, and workers that hold many do not wake
 * each other for small differences. There must be a worker.
 */
static inline uint64_t queue_share(const struct queue *q) REQUIRES(q->lock)
{
	const uint64_t equal = q->held / q->workers;

	return equal + equal / 8;
}

/* Removes the oldest arrival, of which there must be one, and wakes whoever waits for that. */
struct arrival queue_pop(struct queue *q) REQUIRES(q->lock);

/*
 * If connections wait, wakes the worker that should take next. If no worker has room, wakes those
 * that do not know that arrivals wait.
 */
void queue_wake_next(struct queue *q) REQUIRES(q->lock);

/*
 * Whether a worker works less than another lately, in steps of so many thousandths of its time, or
 * as much and holds fewer.
 */
bool slot_works_less(const struct slot *s, const struct slot *other, uint32_t step,
		     uint64_t now_ns);

/* Rings the bell of a worker, or of every one, that is not rung yet. */
void queue_ring(struct slot *s);
void queue_ring_all(struct queue *q) REQUIRES(q->lock);

#endif
