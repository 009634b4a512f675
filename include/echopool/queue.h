/*
 * The bounded queue between the acceptor and the workers, and the one place that decides which
 * worker is woken. Its lock is never held together with another.
 *
 * One thread pushes (the acceptor); the workers take, each through its own place, a number below
 * the number of places that the queue was made with.
 */
#ifndef ECHOPOOL_QUEUE_H
#define ECHOPOOL_QUEUE_H

#include <stdbool.h>
#include <stdint.h>

#include "echopool/address.h"
#include "echopool/bell.h"

/* A worker takes this many at once at most, so that a burst spreads over the workers. */
#define QUEUE_TAKE_MAX 8

/* An accepted connection on its way to a worker. Whoever holds it closes fd; -1 once handed on. */
struct arrival {
	int fd;
	union address peer;
	uint64_t accepted_ns; /* CLOCK_MONOTONIC */
};

/* What queue_take() found. */
struct queue_batch {
	struct arrival arrivals[QUEUE_TAKE_MAX]; /* the taker owns the descriptors now */
	unsigned int count;
	bool ended;   /* the queue is closed and empty: nothing will ever come */
	bool stopped; /* queue_stop() was called: end now, whatever is held */
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
 * Says that the worker at place holds nothing yet, serves at most worker_connections at once, and
 * is woken by bell while it sleeps outside of queue_take(). Before the worker's thread starts.
 */
void queue_set_place(struct queue *q, unsigned int place, uint32_t worker_connections,
		     const struct bell *bell);

/* Says that nobody is at place any more; its bell is not rung again. After the worker's thread. */
void queue_clear_place(struct queue *q, unsigned int place);

/*
 * Appends the arrival and takes its descriptor over (a->fd becomes -1). Returns false, and changes
 * nothing, when the queue is full. The acceptor.
 */
bool queue_push(struct queue *q, struct arrival *a);

/*
 * Waits until the queue has room and returns how many connections fit; they stay free, as only the
 * acceptor pushes. Returns 0 once queue_end_waiting() has been called. The acceptor.
 */
uint32_t queue_wait_for_room(struct queue *q);

/* The same without waiting: how many fit now. The acceptor. */
uint32_t queue_room(struct queue *q);

/* Ends queue_wait_for_room(), now and for good. Any thread. */
void queue_end_waiting(struct queue *q);

/*
 * Tells how many connections the worker at place holds, and takes the next ones from the queue, as
 * far as it has room and there are any. A worker that holds nothing sleeps until there is something
 * to take or the queue has ended. Sets all of batch. That place's worker.
 */
void queue_take(struct queue *q, unsigned int place, uint32_t held, struct queue_batch *batch);

/* No more pushes: takers get what is waiting, and then the end. Any thread. */
void queue_close(struct queue *q);

/* Like queue_close(), but every taker is told to stop at once. Any thread. */
void queue_stop(struct queue *q);

/* How many wait now. Any thread. */
uint32_t queue_waiting(struct queue *q);

#endif
