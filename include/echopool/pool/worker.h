/*
 * One worker of the pool: a thread that takes connections from the queue and echoes for those it
 * holds. How it waits for them (epoll) is nobody else's business.
 */
#ifndef ECHOPOOL_POOL_WORKER_H
#define ECHOPOOL_POOL_WORKER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "echopool/pool/access.h"
#include "echopool/pool/queue.h"
#include "echopool/pool/worker_stats.h"

/*
 * What all workers go by, and the main thread changes while they run. Each is looked at alone, at
 * the worker's next turn, so relaxed order suffices; nobody writes them in between, so the cache
 * line they share is never taken from anybody.
 */
struct worker_tuning {
	atomic_uint buffer_bytes; /* reads and owes at most so much for each connection */
	atomic_uint idle_ms;      /* 0: never; likewise the others */
	atomic_uint idle_when_full_ms;
	atomic_uint write_ms;
	atomic_bool log_connections;
};

/* What a worker is told at its start; all of it outlives the worker. */
struct worker_options {
	struct queue *queue;
	struct access *access; /* is told of each connection that ends */
	const struct worker_tuning *tuning;
	uint32_t worker_connections; /* holds at most so many */
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
 * Starts its thread, which runs until the queue ends, is stopped, or dismisses it. Returns 0 or an
 * errno value.
 */
int worker_start(struct worker *w);

/* Waits for the thread that worker_start() began; the queue must have ended or dismissed it. */
void worker_join(struct worker *w);

/* Frees a worker whose thread never started or has been joined. */
void worker_free(struct worker *w);

/* Its figures; any thread may read them while the worker exists. */
const struct worker_stats *worker_stats(const struct worker *w);

#endif
