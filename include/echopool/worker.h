/*
 * One worker of the pool: a thread that takes connections from the queue and echoes for those it
 * holds. How it waits for them (epoll) is nobody else's business.
 */
#ifndef ECHOPOOL_WORKER_H
#define ECHOPOOL_WORKER_H

#include <stdbool.h>
#include <stdint.h>

#include "echopool/queue.h"
#include "echopool/stats.h"

/* What a worker is told at its start; all of it outlives the worker. */
struct worker_options {
	struct queue *queue;
	uint32_t worker_connections; /* holds at most so many */
	uint32_t buffer_bytes;       /* reads and owes at most so much for each */
	bool log_connections;
	/* Called by the worker's thread as the last thing it does. */
	void (*on_end)(void *argument);
	void *on_end_argument;
};

struct worker;

/*
 * Makes the worker and its place in the queue (number index); no thread runs yet. Returns NULL with
 * errno set.
 */
struct worker *worker_new(unsigned int index, const struct worker_options *options);

/*
 * Starts its thread, which runs until the queue ends or is stopped. Returns 0 or an errno value.
 */
int worker_start(struct worker *w);

/* Waits for the thread that worker_start() began; the queue must have been closed or stopped. */
void worker_join(struct worker *w);

/* Frees a worker whose thread never started or has been joined. */
void worker_free(struct worker *w);

/* Its figures; any thread may read them while the worker exists. */
const struct worker_stats *worker_stats(const struct worker *w);

#endif
