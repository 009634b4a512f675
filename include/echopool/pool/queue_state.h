/*
 * The queue's own state, which its two files share: queue.c, where the acceptor pushes and waits,
 * and dispatch.c, where workers take and are woken, with the functions below. Nobody else
 * includes this.
 */
#ifndef ECHOPOOL_POOL_QUEUE_STATE_H
#define ECHOPOOL_POOL_QUEUE_STATE_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "echopool/base/thread.h"
#include "echopool/pool/queue.h"
#include "echopool/pool/worker_stats.h"

/* A worker as the queue sees it; under the queue's lock, but for rung. */
struct place {
	/*
	 * The worker was woken, and has not looked since. Written under the lock; its worker reads
	 * it without, after each turn. Relaxed: the bell orders what the worker must not miss.
	 */
	alignas(CACHE_LINE_BYTES) atomic_bool rung;
	const struct bell *bell; /* NULL: nobody is here */
	uint32_t held;           /* told by the worker, and handed to it since */
	uint32_t worker_connections;
	uint32_t evicting; /* closing for others that wait; it comes back for them */
	bool asleep;       /* on not_empty */
	bool leaving;
	bool pressed;              /* was told that others wait and that nobody has room for them */
	struct queue_link *handed; /* connections for it that it has not fetched yet */
	uint32_t handed_count;
};

/* All is under lock. */
struct queue {
	struct lock lock;
	struct condition not_empty; /* workers that hold nothing */
	struct condition not_full;  /* the acceptor */
	struct ring ring;
	uint32_t limit;
	uint64_t pushed;       /* since the start */
	uint64_t capacity;     /* how many all workers together serve at once */
	uint64_t held;         /* the sum of the places' */
	uint32_t promised;     /* room that the acceptor counts on, whatever becomes of the limit */
	uint32_t evicting;     /* the sum of the places' */
	unsigned int sleepers; /* on not_empty */
	bool closed;
	bool stopped;
	bool interrupted;
	unsigned int places_end; /* there is nobody from here on */
	struct place places[];
};

/* Removes the oldest arrival, of which there must be one, and wakes who waits for that. */
struct arrival queue_pop(struct queue *q) REQUIRES(q->lock);

/*
 * For what waits, if anything does: wakes the worker that should take next; or, if none has room,
 * those that do not know yet that others wait.
 */
void queue_wake_next(struct queue *q) REQUIRES(q->lock);

/* Rings the bell of every worker that is not rung yet. */
void queue_ring_all(struct queue *q) REQUIRES(q->lock);

#endif
