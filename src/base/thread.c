/*
 * The checked wrappers around pthreads; see the header. Any thread may call them.
 */
#include "echopool/base/thread.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "echopool/base/clock.h"
#include "echopool/base/log.h"

/*
 * Workers keep their buffers on the heap, so a small stack holds them; a fixed size makes the
 * memory of a pool known beforehand, whatever `ulimit -s` says. Sanitizers need several times as
 * much.
 */
#define THREAD_STACK_BYTES (512UL * 1024)

void fail(int error, const char *what)
{
	log_error("%s: %s; this is a bug in echopool", what, strerror(error));
	abort();
}

void lock_init(struct lock *l)
{
	must(pthread_mutex_init(&l->mutex, NULL), "pthread_mutex_init");
}

void lock_destroy(struct lock *l)
{
	must(pthread_mutex_destroy(&l->mutex), "pthread_mutex_destroy");
}

/* The wrapper is what the annotations describe, so its inside is not analysed. */
NO_THREAD_SAFETY_ANALYSIS
void lock_acquire(struct lock *l)
{
	must(pthread_mutex_lock(&l->mutex), "pthread_mutex_lock");
}

NO_THREAD_SAFETY_ANALYSIS
void lock_release(struct lock *l)
{
	must(pthread_mutex_unlock(&l->mutex), "pthread_mutex_unlock");
}

void condition_init(struct condition *c)
{
	pthread_condattr_t attributes;

	must(pthread_condattr_init(&attributes), "pthread_condattr_init");
	must(pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC), "pthread_condattr_setclock");
	must(pthread_cond_init(&c->cond, &attributes), "pthread_cond_init");
	must(pthread_condattr_destroy(&attributes), "pthread_condattr_destroy");
}

void condition_destroy(struct condition *c)
{
	must(pthread_cond_destroy(&c->cond), "pthread_cond_destroy");
}

void condition_signal(struct condition *c)
{
	must(pthread_cond_signal(&c->cond), "pthread_cond_signal");
}

void condition_broadcast(struct condition *c)
{
	must(pthread_cond_broadcast(&c->cond), "pthread_cond_broadcast");
}

void condition_wait(struct condition *c, struct lock *l)
{
	must(pthread_cond_wait(&c->cond, &l->mutex), "pthread_cond_wait");
}

void condition_wait_until(struct condition *c, struct lock *l, uint64_t deadline_ns)
{
	const struct timespec deadline = {.tv_sec = (time_t)(deadline_ns / NS_PER_S),
					  .tv_nsec = (long)(deadline_ns % NS_PER_S)};
	int error;

	if (deadline_ns == UINT64_MAX) {
		condition_wait(c, l);
		return;
	}
	error = pthread_cond_timedwait(&c->cond, &l->mutex, &deadline);
	must(error == ETIMEDOUT ? 0 : error, "pthread_cond_timedwait");
}

int thread_start(pthread_t *thread, void *(*body)(void *), void *argument)
{
	pthread_attr_t attributes;
	int error;

	error = pthread_attr_init(&attributes);
	if (error)
		return error;
	must(pthread_attr_setstacksize(&attributes, THREAD_STACK_BYTES),
	     "pthread_attr_setstacksize");
	error = pthread_create(thread, &attributes, body, argument);
	must(pthread_attr_destroy(&attributes), "pthread_attr_destroy");
	return error;
}

void thread_set_name(const char *name)
{
	must(pthread_setname_np(pthread_self(), name), "pthread_setname_np");
}

void thread_never_preempt(void)
{
	static const struct sched_param none = {.sched_priority = 0};

	if (sched_getscheduler(0) == SCHED_OTHER && sched_setscheduler(0, SCHED_BATCH, &none) != 0)
		log_debug("SCHED_BATCH: %s", strerror(errno));
}

void thread_join(pthread_t thread)
{
	must(pthread_join(thread, NULL), "pthread_join");
}
