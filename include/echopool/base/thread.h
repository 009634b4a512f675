/*
 * Locks, condition variables and threads with their results checked: a pthread call that cannot
 * fail in a correct program goes through must(), which ends the process with a line if it does.
 * clang's -Wthread-safety reads the annotations
 * (https://clang.llvm.org/docs/ThreadSafetyAnalysis.html).
 */
#ifndef ECHOPOOL_BASE_THREAD_H
#define ECHOPOOL_BASE_THREAD_H

#include <pthread.h>
#include <stdint.h>

#if defined(__clang__)
#define THREAD_ANNOTATION(x) __attribute__((x))
#else
#define THREAD_ANNOTATION(x)
#endif

#define CAPABILITY(name)          THREAD_ANNOTATION(capability(name))
#define REQUIRES(lock)            THREAD_ANNOTATION(requires_capability(lock))
#define ACQUIRES(lock)            THREAD_ANNOTATION(acquire_capability(lock))
#define RELEASES(lock)            THREAD_ANNOTATION(release_capability(lock))
#define NO_THREAD_SAFETY_ANALYSIS THREAD_ANNOTATION(no_thread_safety_analysis)

struct CAPABILITY("mutex") lock {
	pthread_mutex_t mutex;
};

/* A condition variable whose timeouts, where there are any, are on CLOCK_MONOTONIC. */
struct condition {
	pthread_cond_t cond;
};

/* Ends the process with a line that names what was attempted, and error, an errno value. */
_Noreturn void fail(int error, const char *what);

/* The same, unless error is 0. */
static inline void must(int error, const char *what)
{
	if (error)
		fail(error, what);
}

void lock_init(struct lock *l);
void lock_destroy(struct lock *l);
void lock_acquire(struct lock *l) ACQUIRES(l);
void lock_release(struct lock *l) RELEASES(l);

void condition_init(struct condition *c);
void condition_destroy(struct condition *c);
void condition_signal(struct condition *c);
void condition_broadcast(struct condition *c);

/* Wakes may be spurious: call it in a loop that looks at the condition itself. */
void condition_wait(struct condition *c, struct lock *l) REQUIRES(l);

/*
 * The same until deadline_ns of CLOCK_MONOTONIC at the latest; UINT64_MAX: no deadline. The caller
 * looks at the clock, or again at the condition, to tell why it returned.
 */
void condition_wait_until(struct condition *c, struct lock *l, uint64_t deadline_ns) REQUIRES(l);

/*
 * Starts a thread of echopool's fixed stack size. Returns 0 or the errno value of
 * pthread_create(3), which callers must handle: EAGAIN is usual under a limit on processes.
 */
int thread_start(pthread_t *thread, void *(*body)(void *), void *argument);

/*
 * Names the calling thread for top and gdb; 15 bytes at most. (Naming another thread would open a
 * file in /proc, and fail where descriptors are short.)
 */
void thread_set_name(const char *name);

/*
 * Has the calling thread wait for its turn when it wakes, instead of interrupting a thread that
 * works: SCHED_BATCH (sched(7)). A policy that the process was given stays; a refusal is ignored.
 */
void thread_never_preempt(void);

/* Waits for the end of a thread that thread_start() began. Never call it while holding a lock. */
void thread_join(pthread_t thread);

#endif
