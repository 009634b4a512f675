/*
 * One worker of the pool: a thread that takes connections from the queue and echoes for those it
 * holds. The main thread calls these functions.
 */
#ifndef ECHOPOOL_POOL_WORKER_H
#define ECHOPOOL_POOL_WORKER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "echopool/pool/access.h"
#include "echopool/pool/holders.h"
#include "echopool/pool/queue.h"
#include "echopool/pool/worker_stats.h"

/*
 * The settings that all workers read, each at its next turn, and that the main thread changes while
 * they run. No field depends on another, so relaxed order suffices. All share a cache line, which
 * stays with every worker as it is written so seldom.
 */
struct worker_tuning {
	atomic_uint buffer_bytes; /* bounds one read, and what is pending for one connection */
	atomic_uint idle_ms;      /* 0: never; likewise the others */
	atomic_uint idle_when_full_ms;
	atomic_uint write_ms;
	atomic_bool log_connections;
	atomic_bool rebalance;
	atomic_uint spin_us; /* how long a wait may look again before it sleeps; 0: never */
};

/* What a worker needs from its start; all of it outlives the worker, whose thread only reads it. */
struct worker_options {
	struct queue *queue;
	struct access *access; /* released for each connection that ends */
	const struct worker_tuning *tuning;
	bool uses_uring; /* else epoll; engine_uring_works() has said so */
	/* Called by the worker's thread as the last thing it does. */
	void (*on_end)(void *argument);
	void *on_end_argument;
};

struct worker;

/*
 * Makes the worker and its slot in the queue (number index); no thread runs yet. Returns NULL with
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

/* The CPU time that its thread has used, from start to join; 0 where the kernel does not tell. */
uint64_t worker_cpu_ns(const struct worker *w);

/*
 * How long it had been ready to run while no CPU was free for it, when worker_read_runqueue() asked
 * the kernel last, which costs it some microseconds. Main thread.
 */
uint64_t worker_runqueue_ns(const struct worker *w);
void worker_read_runqueue(struct worker *w);

/* What it answers to the question who holds it. Main thread. */
struct holders_answer *worker_holders(struct worker *w);

/* Its figures, which any thread may read while the worker exists. */
const struct worker_stats *worker_stats(const struct worker *w);

#endif
