/*
 * The queue's own state, which its two files share: queue.c, where the acceptor pushes and waits,
 * and dispatch.c, where workers take and are woken. queue.c calls the functions below. Nobody else
 * includes this.
 */
#ifndef ECHOPOOL_POOL_QUEUE_STATE_H
#define ECHOPOOL_POOL_QUEUE_STATE_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "echopool/base/counter.h"
#include "echopool/base/thread.h"
#include "echopool/pool/queue.h"

/* A worker as the queue sees it. The queue's lock protects all fields except rung. */
struct slot {
	/*
	 * The worker was woken, and has not been in queue_take() since. It is written under the
	 * lock; its worker reads it without, after each turn. Relaxed order suffices: a worker that
	 * reads it too late wakes for the bell.
	 */
	alignas(CACHE_LINE_BYTES) atomic_bool rung;
	const struct bell *bell; /* NULL: the slot is empty */
	uint32_t held;           /* as the worker reported, and what it was given since */
	uint32_t worker_connections;
	uint32_t evicting; /* how many it closes for others that wait; it takes next */
	bool asleep;       /* on not_empty */
	bool leaving;
	bool knows_saturated;      /* its last batch said saturated */
	struct queue_link *handed; /* connections for it that it has not fetched yet */
	uint32_t handed_count;
};

/* The lock protects all fields; see struct slot for rung. */
struct queue {
	struct lock lock;
	struct condition not_empty; /* workers that hold nothing wait on it */
	struct condition not_full;  /* the acceptor waits on it */
	struct ring ring;
	uint32_t limit;
	uint64_t pushed;       /* since the start */
	uint64_t capacity;     /* how many all workers together serve at once */
	uint64_t held;         /* the sum over the slots */
	uint32_t promised;     /* room that the acceptor may use, whatever becomes of the limit */
	uint32_t evicting;     /* the sum over the slots */
	unsigned int sleepers; /* on not_empty */
	bool closed;
	bool stopped;
	bool interrupted;
	unsigned int slots_end; /* all slots from here on are empty */
	struct slot slots[];
};

/* Removes the oldest arrival, of which there must be one, and wakes whoever waits for that. */
struct arrival queue_pop(struct queue *q) REQUIRES(q->lock);

/*
 * If arrivals wait, wakes the worker that should take next. If no worker has room, wakes those that
 * do not know that arrivals wait.
 */
void queue_wake_next(struct queue *q) REQUIRES(q->lock);

/* Rings the bell of every worker that is not rung yet. */
void queue_ring_all(struct queue *q) REQUIRES(q->lock);

#endif
