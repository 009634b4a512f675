/*
 * The workers together: start with roll-back, and join. Called by the main thread; a worker that
 * ends counts itself out in worker_ended().
 */
#include "echopool/pool.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "echopool/log.h"

struct pool {
	/* Main thread; fixed once the pool has started. */
	unsigned int count;
	const struct bell *all_ended;
	/* Each worker takes one away as it ends; whoever takes the last rings. */
	atomic_uint running;
	struct worker *workers[];
};

/* In the worker's thread. Acquire and release, so that the bell comes after every worker's last
 * act. */
static void worker_ended(void *argument)
{
	struct pool *p = argument;

	if (atomic_fetch_sub_explicit(&p->running, 1, memory_order_acq_rel) == 1)
		bell_ring(p->all_ended);
}

/* Makes and starts worker number p->count. Returns 0 or an errno value. */
static int start_next(struct pool *p, const struct worker_options *options)
{
	struct worker *w = worker_new(p->count, options);
	int error;

	if (!w)
		return errno;
	atomic_fetch_add_explicit(&p->running, 1, memory_order_relaxed);
	error = worker_start(w);
	if (error) {
		atomic_fetch_sub_explicit(&p->running, 1, memory_order_relaxed);
		worker_free(w);
		return error;
	}
	p->workers[p->count++] = w;
	return 0;
}

struct pool *pool_start(unsigned int workers, const struct worker_options *options,
			const struct bell *all_ended)
{
	struct worker_options own = *options;
	struct pool *p = calloc(1, sizeof(*p) + workers * sizeof(struct worker *));
	int error;

	if (!p) {
		log_error("no memory for a pool of %u workers", workers);
		return NULL;
	}
	p->all_ended = all_ended;
	own.on_end = worker_ended;
	own.on_end_argument = p;
	while (p->count < workers) {
		error = start_next(p, &own);
		if (error) {
			log_error(
				"cannot start worker %u of %u: %s; lower pool.workers, or raise the limit on processes, descriptors or memory",
				p->count + 1, workers, strerror(error));
			queue_stop(options->queue);
			pool_free(p);
			return NULL;
		}
	}
	return p;
}

bool pool_has_ended(const struct pool *p)
{
	return atomic_load_explicit(&p->running, memory_order_acquire) == 0;
}

void pool_free(struct pool *p)
{
	for (unsigned int i = 0; i < p->count; i++)
		worker_join(p->workers[i]);
	for (unsigned int i = 0; i < p->count; i++)
		worker_free(p->workers[i]);
	free(p);
}

unsigned int pool_workers(const struct pool *p)
{
	return p->count;
}

const struct worker_stats *pool_worker_stats(const struct pool *p, unsigned int index)
{
	return worker_stats(p->workers[index]);
}
