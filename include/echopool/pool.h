/*
 * The fixed pool of workers: all of them start, or none.
 */
#ifndef ECHOPOOL_POOL_H
#define ECHOPOOL_POOL_H

#include <stdbool.h>

#include "echopool/worker.h"

struct pool;

/*
 * Starts the given number of workers with the options. Returns NULL when one of them cannot be had;
 * those that ran are ended again, and the log has said which and why. options->on_end is the pool's
 * own. The queue is stopped in that case, and of no further use.
 *
 * all_ended is rung when the last worker has ended; it outlives the pool.
 */
struct pool *pool_start(unsigned int workers, const struct worker_options *options,
			const struct bell *all_ended);

/* Whether every worker has ended, so that pool_free() need not wait. Any thread. */
bool pool_has_ended(const struct pool *p);

/* Waits for the workers, which end once their queue is closed or stopped, and frees the pool. */
void pool_free(struct pool *p);

/* How many workers, and their figures; any thread. */
unsigned int pool_workers(const struct pool *p);
const struct worker_stats *pool_worker_stats(const struct pool *p, unsigned int index);

#endif
