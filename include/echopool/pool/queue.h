/*
 * The bounded queue between the acceptor and the workers, and the one place that decides which
 * worker is woken. Its lock is never held together with another.
 *
 * One thread pushes (the acceptor). The workers take, each through a slot of its own: worker number
 * n through slot n. The main thread adds workers and dismisses them, the last ones first, changes
 * limits and ends the queue.
 */
#ifndef ECHOPOOL_POOL_QUEUE_H
#define ECHOPOOL_POOL_QUEUE_H

#include <stdbool.h>
#include <stdint.h>

#include "echopool/base/bell.h"
#include "echopool/pool/deadline_list.h"
#include "echopool/pool/ring.h"

/* A worker takes this many at once at most, so that a burst spreads over the workers. */
#define QUEUE_TAKE_MAX 8

/* What a worker gets from queue_take(); that worker's thread only. */
struct queue_batch {
	struct arrival arrivals[QUEUE_TAKE_MAX]; /* the worker owns the descriptors now */
	unsigned int count;
	struct deadline_list handed; /* connections that other workers gave away; its own now */
	bool saturated;              /* others wait, and no worker has room for them */
	bool make_room;              /* it may close one connection, for this one that waits: */
	struct address_key waiting;  /* what access counts it as */
	uint64_t waiting_since_ns;   /* when it was accepted */
	bool leaving;                /* hand over what is held (queue_hand_over()) and end */
	bool ended;                  /* the queue is closed and empty: nothing will ever come */
	bool stopped;                /* queue_stop() was called: end now, whatever is held */
};

struct queue;

/* Makes a queue for limit connections and so many slots. Returns NULL when memory is short. */
struct queue *queue_new(uint32_t limit, unsigned int slots);

/* Closes what is still waiting and frees the queue. No other thread may use it any more. */
void queue_free(struct queue *q);

/*
 * Changes the limit; what waits beyond a lowered one goes on waiting. Returns false, and changes
 * nothing, when memory is short. Main thread.
 */
bool queue_set_limit(struct queue *q, uint32_t limit);

/*
 * Gives the next slot to a worker that holds nothing yet. The bell wakes it while it sleeps outside
 * of queue_take(). Call it before the worker's thread starts. Main thread.
 */
void queue_set_slot(struct queue *q, unsigned int slot, const struct bell *bell);

/*
 * Bounds what each worker takes from now on, worker_connections, and what all together do, workers
 * * worker_connections, which holds also while workers that leave have not handed theirs over.
 * Rings every bell, so that each worker reads its settings again. A new queue has no such bound.
 * Main thread.
 */
void queue_set_capacity(struct queue *q, unsigned int workers, uint32_t worker_connections);

/*
 * Empties the last slot, or one that was dismissed; its bell is not rung again. Call it after the
 * worker's thread. Main thread.
 */
void queue_clear_slot(struct queue *q, unsigned int slot);

/*
 * Puts the arrival before those that have a greater weight and behind all others, and takes its
 * descriptor over (a->fd becomes -1). Where the queue is full the last of those with a greater
 * weight has to go: it is in *displaced, whose fd is -1 otherwise. Returns false, and changes
 * nothing, when the queue is full and there is none. asked: for this push the acceptor has asked
 * for room before, so that it succeeds whatever has become of the limit since. The acceptor.
 */
bool queue_push(struct queue *q, struct arrival *a, bool asked, struct arrival *displaced);

/* Whether workers hold as many as they may, so that who comes waits. No lock. Any thread. */
bool queue_is_saturated(const struct queue *q);

/*
 * Waits until the queue has room, and returns for how many pushes. Returns 0 when deadline_ns has
 * passed, or for queue_interrupt(). The acceptor.
 */
uint32_t queue_wait_for_room(struct queue *q, uint64_t deadline_ns);

/*
 * Makes room for more pushes, whatever the limit, and returns for how many: fewer when memory is
 * short. The acceptor.
 */
uint32_t queue_make_room(struct queue *q, uint32_t more);

/* Ends the acceptor's wait for room, or its next one if it does not wait now. Any thread. */
void queue_interrupt(struct queue *q);

/*
 * Removes the arrival that has waited longest, wherever it stands, if it has waited for timeout_ms,
 * and returns true; the caller owns its descriptor. Otherwise returns false, and sets *deadline_ns
 * to the time when it will have; UINT64_MAX if nothing waits or the timeout is 0. The acceptor.
 */
bool queue_expire(struct queue *q, uint32_t timeout_ms, uint64_t now_ns, struct arrival *a,
		  uint64_t *deadline_ns);

/*
 * Removes the oldest arrival, and returns true; the caller owns its descriptor. False: nothing
 * waits. Any thread.
 */
bool queue_take_back(struct queue *q, struct arrival *a);

/*
 * A worker reports how many connections it holds, and takes more, QUEUE_TAKE_MAX at most: first
 * those of workers that left, then arrivals while it has room; none while it holds more than an
 * equal share and an eighth. For those that are left the worker is woken that works least.
 *
 * If no worker has room for them, a worker that says makes_room is asked to close one connection
 * for one that waits, if another worker does not do so already. It must call this again at once.
 *
 * A worker that holds nothing sleeps here until it gets something or must end. Sets all of batch.
 * The slot's worker.
 */
void queue_take(struct queue *q, unsigned int slot, uint32_t held, bool makes_room,
		struct queue_batch *batch);

/*
 * Whether the worker was woken, or has rung for itself, and has not been in queue_take() since; it
 * must go there before it sleeps. One load, without the lock. The slot's worker.
 */
bool queue_is_rung(const struct queue *q, unsigned int slot);

/* Has its own worker go to queue_take() before it sleeps: it holds fewer. The slot's worker. */
void queue_ring_self(struct queue *q, unsigned int slot);

/*
 * Asks all workers from slot first on to leave: their next queue_take() says so, and gives them
 * nothing more. Another worker must stay. Main thread.
 */
void queue_dismiss(struct queue *q, unsigned int first);

/*
 * Has a worker come to queue_take() at its next turn, unless it holds nothing and sleeps there;
 * returns whether it holds something. Main thread.
 */
bool queue_call(struct queue *q, unsigned int slot);

/*
 * Hands all connections of a worker that leaves, count in this list, to the workers that stay. The
 * slot's worker, as its last call.
 */
void queue_hand_over(struct queue *q, unsigned int slot, struct deadline_list *connections,
		     uint32_t count);

/*
 * A worker tells how much of its time it has worked since it told last, in thousandths, and how
 * many of its connections are active. Returns how many of those it should give to which other
 * worker, *to, by queue_give(): the one that works least, or of such the one that holds fewest. The
 * slot's worker.
 */
uint32_t queue_tell_work(struct queue *q, unsigned int slot, uint32_t work, uint32_t active,
			 uint64_t now_ns, unsigned int *to);

/*
 * Gives count connections, which are in this list, to another worker, whatever that one holds. If
 * it leaves meanwhile, whoever stays takes them. The slot's worker, which holds more.
 */
void queue_give(struct queue *q, unsigned int slot, unsigned int to,
		struct deadline_list *connections, uint32_t count);

/* No more pushes: workers get what is waiting, and then the end. Any thread. */
void queue_close(struct queue *q);

/* Like queue_close(), but every worker must stop at once. Any thread. */
void queue_stop(struct queue *q);

/* How long something has been so, that comes and goes. Nanoseconds of CLOCK_MONOTONIC. */
struct spell {
	uint64_t since_ns; /* 0: it is not so now */
	uint64_t ended_ns; /* how long all spells together were, without the one now */
	uint64_t count;    /* how many began */
};

/* How long all spells together were, with the one now. */
static inline uint64_t spell_total_ns(const struct spell *s, uint64_t now_ns)
{
	return s->ended_ns + (s->since_ns && s->since_ns < now_ns ? now_ns - s->since_ns : 0);
}

/* Figures of one moment. */
struct queue_figures {
	uint32_t waiting; /* now */
	uint32_t limit;
	uint64_t pushed;        /* since the start */
	uint64_t oldest_ns;     /* when the one was accepted that has waited longest; 0: none */
	struct spell saturated; /* some wait, and no worker may take them */
	struct spell full;      /* as many wait as may */
};

/*
 * Has the queue ring a bell, once, when the pool becomes saturated; the bell outlives the queue.
 * Returns false, and will not ring, when it is so now. Main thread.
 */
bool queue_watch(struct queue *q, const struct bell *bell);

/* Whether it has rung since, or was never asked to. One load. Main thread. */
bool queue_watch_is_over(const struct queue *q);

/* Any thread. */
struct queue_figures queue_figures(struct queue *q);

#endif
