/*
 * Short waits: while that pays, a worker looks again for a short while before it sleeps, as a sleep
 * and a wake-up cost more than a client that answers at once needs. This is the rule; spin_wait()
 * in worker_state.h follows it.
 *
 * Whether it pays is one number: up by one for a wait that ended while it looked, down by one for
 * another. While it is low only one wait in SPIN_TRIAL looks, so a client that pauses costs nothing
 * that one could see.
 *
 * Nobody waits for a CPU because of it. Between two looks the thread offers its CPU to others; when
 * one takes it, for SPIN_TAKEN_NS or more, the worker sleeps in its waits for SPIN_PAUSE times as
 * long as that, so that it gives away a hundredth of its time at most.
 */
#ifndef ECHOPOOL_POOL_SPIN_H
#define ECHOPOOL_POOL_SPIN_H

#include <stdbool.h>
#include <stdint.h>

#include "echopool/base/clock.h"

#define SPIN_MOST     16U /* more credit than this is not given */
#define SPIN_PAYS     4U  /* with so much each wait looks */
#define SPIN_TRIAL    64U
#define SPIN_TAKEN_NS (100 * NS_PER_US)
#define SPIN_PAUSE    100U

/* The worker's thread only. All zeros: nothing is known. */
struct spin {
	unsigned int credit;
	unsigned int slept; /* waits since the last that looked */
	uint64_t paused_until_ns;
};

/* Whether the wait that begins now should look again before it sleeps. */
bool spin_pays(struct spin *s, uint64_t now_ns);

/* One that did has ended: in time or not. */
void spin_count(struct spin *s, bool in_time);

/* Others had the CPU for so long between two looks. */
void spin_taken(struct spin *s, uint64_t taken_ns, uint64_t now_ns);

#endif
