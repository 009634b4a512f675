/*
 * Work, not heads: a worker that works much gives some of its active connections to one that does
 * not. share_work.c is what a worker does for it, and queue_tell_work() finds the other one.
 */
#ifndef ECHOPOOL_POOL_REBALANCE_H
#define ECHOPOOL_POOL_REBALANCE_H

#include <stdbool.h>
#include <stdint.h>

#include "echopool/base/clock.h"

/* How often a worker that has something to do looks how much it works. */
#define WORK_PERIOD_NS (100 * NS_PER_MS)

/* How long who gave or was given some neither gives nor is given more. */
#define REBALANCE_PAUSE_NS (5 * WORK_PERIOD_NS)

/* Of a worker's time, in thousandths. */
#define WORK_ALL 1000U

/*
 * How many of its active connections a worker gives to one that works less. own and other:
 * thousandths of their time that the two worked. Any thread.
 */
uint32_t rebalance_count(uint32_t own, uint32_t active, uint32_t other);

/* What a worker has worked since the last look. Its thread only. */
struct work_meter {
	uint64_t began_ns; /* 0: not yet */
	uint64_t cpu_ns;   /* of the thread, then; likewise the others */
	uint64_t polled_ns;
	long sleeps;
};

/*
 * Whether a period is over, and in thousandths how much of it the calling thread worked, which has
 * polled for so long in all: that is no work. One that neither polled nor slept worked all of it,
 * also if others had the CPU meanwhile. A period in which the thread slept so long that it could
 * not look says nothing, and another begins.
 */
bool work_measure(struct work_meter *m, uint64_t now_ns, uint64_t polled_ns, uint32_t *share);

#endif
