/*
 * The fixed pool of workers, which grows and shrinks only by pool_resize(). The main thread calls
 * these functions.
 */
#ifndef ECHOPOOL_POOL_POOL_H
#define ECHOPOOL_POOL_POOL_H

#include <stdbool.h>
#include <stdint.h>

#include "echopool/pool/worker.h"

/* The highest value of pool.workers; the queue has as many slots. */
#define POOL_WORKERS_MAX 1024

struct pool;

/*
 * Makes a pool without workers. Returns NULL when memory is short. all_ended is rung when the last
 * worker has ended; it outlives the pool.
 */
struct pool *pool_new(const struct bell *all_ended);

/*
 * Starts workers with the options, or makes some leave, until there are so many; at least one.
 * Workers that leave hand their connections to those that stay, and have ended when this returns.
 * The pool itself sets options->on_end.
 *
 * Returns false when a worker cannot be started. The log says which and why, those that were
 * started have ended again, and the others are as before. If there are no others, the queue is
 * stopped.
 */
bool pool_resize(struct pool *p, unsigned int workers, const struct worker_options *options);

/* Whether every worker has ended, so that pool_free() need not wait. Any thread. */
bool pool_has_ended(const struct pool *p);

/* Waits for the workers, which end once their queue is closed or stopped, and frees the pool. */
void pool_free(struct pool *p);

/* How many workers, and the figures of one. */
unsigned int pool_workers(const struct pool *p);
const struct worker_stats *pool_worker_stats(const struct pool *p, unsigned int index);

/* The CPU time that a worker's thread has used; 0 where the kernel does not tell. */
uint64_t pool_worker_cpu_ns(const struct pool *p, unsigned int index);

/*
 * How long it had waited for a CPU when that was read last: pool_read_runqueues() does so for 64
 * workers, the next ones each time.
 */
void pool_read_runqueues(struct pool *p);
uint64_t pool_worker_runqueue_ns(const struct pool *p, unsigned int index);

/*
 * Who holds the workers, as they last answered; asks them again where that was two seconds ago.
 * It does not wait for the answers, so whoever looks for the first time finds them missing.
 */
void pool_holders(struct pool *p, struct queue *queue, uint64_t now_ns, struct holders *all);

/* How many have left, and the sums of what they have counted. */
uint64_t pool_left(const struct pool *p);
const struct worker_stats *pool_left_stats(const struct pool *p);

/* Adds up the waits that all workers have counted, including those that have left. */
void pool_sum_waits(const struct pool *p, struct wait_totals *totals);

#endif
