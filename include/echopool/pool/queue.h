/*
 * The bounded queue between the acceptor and the workers, and the one place that decides which
 * worker is woken. Its lock is never held together with another.
 *
 * One thread pushes (the acceptor); the workers take, each through its own place, a number below
 * the number of places that the queue was made with; the main thread changes limits and ends it.
 */
#ifndef ECHOPOOL_POOL_QUEUE_H
#define ECHOPOOL_POOL_QUEUE_H

#include <stdbool.h>
#include <stdint.h>

#include "echopool/base/bell.h"
#include "echopool/pool/ring.h"

/* A worker takes this many at once at most, so that a burst spreads over the workers. */
#define QUEUE_TAKE_MAX 8

/* The part of a served connection by which a worker that leaves hands it to another. */
struct queue_link {
	struct queue_link *next;
};

/* What queue_take() found. */
struct queue_batch {
	struct arrival arrivals[QUEUE_TAKE_MAX]; /* the taker owns the descriptors now */
	unsigned int count;
	struct queue_link
		*handed; /* connections of workers that left, however many; the taker's now */
	bool pressed;    /* others wait, and no worker has room for them */
	uint32_t evict;  /* how many of those it offered it is to close for them */
	bool leaving;    /* hand over what is held (queue_hand_over()) and end */
	bool ended;      /* the queue is closed and empty: nothing will ever come */
	bool stopped;    /* queue_stop() was called: end now, whatever is held */
};

struct queue;

/*
 * Makes a queue for limit connections and the given number of places. Returns NULL when memory is
 * short.
 */
struct queue *queue_new(uint32_t limit, unsigned int places);

/* Closes what is still waiting and frees the queue. No other thread may use it any more. */
void queue_free(struct queue *q);

/*
 * Changes the limit; what waits beyond a lowered one goes on waiting. Returns false, and changes
 * nothing, when memory is short. Main thread.
 */
bool queue_set_limit(struct queue *q, uint32_t limit);

/*
 * Says that the worker at place holds nothing yet, serves at most worker_connections at once, and
 * is woken by bell while it sleeps outside of queue_take(). Before the worker's thread starts.
 */
void queue_set_place(struct queue *q, unsigned int place, uint32_t worker_connections,
		     const struct bell *bell);

/*
 * Says how many workers there are to be, and how many connections each serves: together they take
 * no more than workers * worker_connections, also while those that leave have not handed theirs
 * over. Binds what is taken from now on. Rings every bell, so that each worker looks at its
 * settings anew. A new queue has no such bound. Main thread.
 */
void queue_set_capacity(struct queue *q, unsigned int workers, uint32_t worker_connections);

/* Says that nobody is at place any more; its bell is not rung again. After the worker's thread. */
void queue_clear_place(struct queue *q, unsigned int place);

/*
 * Appends the arrival and takes its descriptor over (a->fd becomes -1). Returns false, and changes
 * nothing, when the queue is full. The acceptor.
 */
bool queue_push(struct queue *q, struct arrival *a);

/*
 * Waits until the queue has room, and returns for how many; so many pushes will succeed, whatever
 * becomes of the limit meanwhile. Returns 0 when deadline_ns has passed, or for queue_interrupt().
 * The acceptor.
 */
uint32_t queue_wait_for_room(struct queue *q, uint64_t deadline_ns);

/* The acceptor no longer counts on the room that it was told of. The acceptor. */
void queue_forget_room(struct queue *q);

/*
 * Makes room for more connections, whatever the limit, and returns for how many; fewer where memory
 * is short. So many pushes will succeed. The acceptor.
 */
uint32_t queue_promise_room(struct queue *q, uint32_t more);

/* Ends the acceptor's wait for room, or else its next one, once. Any thread. */
void queue_interrupt(struct queue *q);

/*
 * Takes the oldest arrival out when it has waited for timeout_ms, and returns true; the caller owns
 * its descriptor. Else returns false, and in *deadline_ns when that will be; UINT64_MAX: nothing
 * waits, or the timeout is 0. The acceptor.
 */
bool queue_expire(struct queue *q, uint32_t timeout_ms, uint64_t now_ns, struct arrival *a,
		  uint64_t *deadline_ns);

/*
 * Takes the oldest arrival out, and returns true; the caller owns its descriptor. False: nothing
 * waits. Any thread.
 */
bool queue_take_back(struct queue *q, struct arrival *a);

/*
 * Tells how many connections the worker at place holds, and takes the next ones from the queue, as
 * far as there are any, it has room, and none of the others with room holds fewer by more than an
 * eighth; who holds fewest is woken for the rest. A worker that holds nothing sleeps until there is
 * something to take or the queue has ended. offered is how many it could close for others that
 * wait; all workers together are asked to close no more than wait. Sets all of batch. That place's
 * worker.
 */
void queue_take(struct queue *q, unsigned int place, uint32_t held, uint32_t offered,
		struct queue_batch *batch);

/*
 * Whether the worker at place was woken and has not been in queue_take() since: it is to go there
 * after this turn. One load, without the lock. That place's worker.
 */
bool queue_is_rung(const struct queue *q, unsigned int place);

/*
 * Asks the worker at place to leave: its next queue_take() says so, and it is given nothing more.
 * Main thread; another worker must stay.
 */
void queue_dismiss(struct queue *q, unsigned int place);

/*
 * Hands the connections of a worker that leaves to those that stay, each to the one that then holds
 * fewest, and clears place. The worker at place, as its last act here.
 */
void queue_hand_over(struct queue *q, unsigned int place, struct queue_link *links);

/* No more pushes: takers get what is waiting, and then the end. Any thread. */
void queue_close(struct queue *q);

/* Like queue_close(), but every taker is told to stop at once. Any thread. */
void queue_stop(struct queue *q);

/* Figures of one moment. */
struct queue_figures {
	uint32_t waiting; /* now */
	uint64_t pushed;  /* since the start */
};

/* Any thread. */
struct queue_figures queue_figures(struct queue *q);

#endif
