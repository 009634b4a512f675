/*
 * Time as echopool uses it: nanoseconds of CLOCK_MONOTONIC, which nobody can set back. Any thread.
 */
#ifndef ECHOPOOL_BASE_CLOCK_H
#define ECHOPOOL_BASE_CLOCK_H

#include <limits.h>
#include <stdint.h>
#include <time.h>

#define NS_PER_US UINT64_C(1000)
#define NS_PER_MS UINT64_C(1000000)
#define NS_PER_S  UINT64_C(1000000000)

/* Now. It cannot fail: the clock and the pointer are valid (clock_gettime(2)). */
static inline uint64_t clock_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

/* The sooner of two times; UINT64_MAX is never. */
static inline uint64_t clock_sooner(uint64_t a_ns, uint64_t b_ns)
{
	return a_ns < b_ns ? a_ns : b_ns;
}

/*
 * The time until deadline_ns as poll(2) and epoll_wait(2) want it: milliseconds rounded up, so that
 * nobody wakes just before it; -1 for UINT64_MAX, which is never.
 */
static inline int clock_timeout_ms(uint64_t deadline_ns, uint64_t now_ns)
{
	uint64_t ms;

	if (deadline_ns == UINT64_MAX)
		return -1;
	if (deadline_ns <= now_ns)
		return 0;
	ms = (deadline_ns - now_ns + NS_PER_MS - 1) / NS_PER_MS;
	return ms < INT_MAX ? (int)ms : INT_MAX;
}

#endif
