/*
 * The limit on descriptors, and how the queue and the workers share it, so that no part
 * ever reaches it unannounced; and the standard descriptors. Called by the main thread.
 */
#ifndef ECHOPOOL_BASE_FDLIMIT_H
#define ECHOPOOL_BASE_FDLIMIT_H

#include <stdbool.h>
#include <stdint.h>

struct fd_demand {
	unsigned int open; /* before the server opened any: fdlimit_count_open() */
	unsigned int listeners;
	unsigned int workers;
	uint32_t worker_connections; /* asked for each worker */
	uint32_t queue_limit;        /* asked */
};

/* What each may have: at most what was asked. */
struct fd_share {
	uint32_t worker_connections;
	uint32_t queue_limit;
};

/*
 * Opens /dev/null for those of the descriptors 0 to 2 that are closed, so that no socket or file
 * gets their numbers and with them what is written there. main() calls it before all else. Returns
 * false with errno set.
 */
bool fdlimit_fill_standard(void);

/* Raises the soft limit to the hard one and returns what holds (getrlimit(2)). */
uint64_t fdlimit_raise(void);

/* How many descriptors this process has open, whoever left them to it. */
unsigned int fdlimit_count_open(void);

/*
 * Divides limit: a reserve first, at most a quarter of the rest to the queue, equal shares of what
 * remains to the workers. Returns false when a worker would get none, or the queue.
 */
bool fdlimit_divide(uint64_t limit, const struct fd_demand *demand, struct fd_share *share);

/* How many descriptors it takes to give each its smallest share. */
uint64_t fdlimit_least(const struct fd_demand *demand);

#endif
