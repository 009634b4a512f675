/*
 * The workers together: start with roll-back, resize, join. The main thread calls all of it except
 * worker_ended(), which each worker calls as it ends.
 */
#include "echopool/pool/pool.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "echopool/base/clock.h"
#include "echopool/base/log.h"

/* Each costs some microseconds, of a probe that waits meanwhile. */
#define RUNQUEUES_AT_ONCE 64

struct pool {
	/* Main thread only. */
	unsigned int count;
	const struct bell *all_ended;
	uint64_t asked_ns;              /* when the workers were asked who holds them */
	uint64_t left;                  /* how many workers have left */
	struct worker_stats left_stats; /* what they have counted */
	struct worker *workers[POOL_WORKERS_MAX];
	unsigned int next_runqueue; /* the worker whose wait for a CPU is read next */
	/* Any thread. Each worker subtracts itself as it ends; the last one rings. */
	atomic_uint running;
};

struct pool *pool_new(const struct bell *all_ended)
{
	struct pool *p = aligned_alloc(CACHE_LINE_BYTES, sizeof(*p));

	if (!p)
		return NULL;
	memset(p, 0, sizeof(*p));
	p->all_ended = all_ended;
	return p;
}

/* How often the workers are asked who holds them, and how long an answer holds. */
#define ASK_NS   (2 * NS_PER_S)
#define STALE_NS (10 * NS_PER_S)

/* Acquire and release order the bell after everything that the workers did. */
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
	log_debug("worker %u started", p->count);
	p->workers[p->count++] = w;
	return 0;
}

/* Joins and frees all workers from number keep on, which must be about to end. */
static void join_from(struct pool *p, unsigned int keep)
{
	while (p->count > keep) {
		struct worker *w = p->workers[--p->count];

		worker_join(w);
		stats_sum(worker_stats(w), &p->left_stats);
		p->left++;
		log_debug("worker %u ended", p->count);
		worker_free(w);
	}
}

static void shrink(struct pool *p, unsigned int workers, struct queue *queue)
{
	queue_dismiss(queue, workers);
	join_from(p, workers);
}

static bool grow(struct pool *p, unsigned int workers, const struct worker_options *options)
{
	const unsigned int before = p->count;
	struct worker_options own = *options;
	int error;

	own.on_end = worker_ended;
	own.on_end_argument = p;
	while (p->count < workers) {
		error = start_next(p, &own);
		if (error == 0)
			continue;
		if (own.uses_uring) {
			log_warning(
				"worker %u and those after it use epoll: io_uring: %s; raise the limit on locked memory (LimitMEMLOCK=, ulimit -l) for more",
				p->count, strerror(error));
			own.uses_uring = false;
			continue;
		}
		log_error(
			"cannot start worker %u of %u: %s; lower pool.workers, or raise the limit on processes, descriptors or memory",
			p->count + 1, workers, strerror(error));
		if (before == 0)
			queue_stop(options->queue);
		shrink(p, before, options->queue);
		return false;
	}
	return true;
}

bool pool_resize(struct pool *p, unsigned int workers, const struct worker_options *options)
{
	if (workers >= p->count)
		return grow(p, workers, options);
	shrink(p, workers, options->queue);
	return true;
}

bool pool_has_ended(const struct pool *p)
{
	return atomic_load_explicit(&p->running, memory_order_acquire) == 0;
}

void pool_free(struct pool *p)
{
	join_from(p, 0);
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

uint64_t pool_left(const struct pool *p)
{
	return p->left;
}

uint64_t pool_worker_cpu_ns(const struct pool *p, unsigned int index)
{
	return worker_cpu_ns(p->workers[index]);
}

void pool_read_runqueues(struct pool *p)
{
	for (unsigned int i = 0; i < RUNQUEUES_AT_ONCE && i < p->count; i++)
		worker_read_runqueue(p->workers[p->next_runqueue++ % p->count]);
}

uint64_t pool_worker_runqueue_ns(const struct pool *p, unsigned int index)
{
	return worker_runqueue_ns(p->workers[index]);
}

void pool_holders(struct pool *p, struct queue *queue, uint64_t now_ns, struct holders *all)
{
	const bool is_stale = now_ns - p->asked_ns > STALE_NS;

	*all = (struct holders){.missing = 0};
	for (unsigned int i = 0; i < p->count && !is_stale; i++)
		holders_collect(worker_holders(p->workers[i]), all);
	if (now_ns - p->asked_ns < ASK_NS)
		return;
	p->asked_ns = now_ns;
	for (unsigned int i = 0; i < p->count; i++) {
		struct holders_answer *a = worker_holders(p->workers[i]);

		holders_ask(a);
		a->called = queue_call(queue, i);
		if (is_stale && a->called)
			all->missing++;
	}
}

const struct worker_stats *pool_left_stats(const struct pool *p)
{
	return &p->left_stats;
}

void pool_sum_waits(const struct pool *p, struct wait_totals *totals)
{
	*totals = (struct wait_totals){0};
	wait_totals_sum(&p->left_stats.waits, totals);
	for (unsigned int i = 0; i < p->count; i++)
		wait_totals_sum(&worker_stats(p->workers[i])->waits, totals);
}
