/*
 * A schedule: the moments at which something is to happen, at a rate, with equal gaps or, for a
 * Poisson process, exponential ones. Each struct is used by one thread.
 */
#ifndef ECHOLOAD_SCHEDULE_H
#define ECHOLOAD_SCHEDULE_H

#include <stdbool.h>
#include <stdint.h>

#include "random.h"

struct schedule {
	uint64_t due_ns;  /* the next moment, on CLOCK_MONOTONIC */
	double gap_ns;    /* mean; 0: everything is due at once */
	double behind_ns; /* what whole nanoseconds have cut off */
	bool poisson;
};

/*
 * Begins at now_ns, with the first moment after share (0 to 1) of a gap, so that many schedules
 * can be spread evenly; a Poisson schedule ignores it. rate is a second; 0: no limit.
 */
struct schedule schedule_begin(uint64_t now_ns, double rate, double share, bool poisson,
			       struct random *random);

/* Goes on to the next moment. */
void schedule_next(struct schedule *s, struct random *random);

/*
 * Goes on to the first moment that is not before until_ns, and returns how many are left out. Takes
 * the same short time for any number; of many of a Poisson process it counts the mean. There must
 * be a rate.
 */
uint64_t schedule_skip(struct schedule *s, uint64_t until_ns, struct random *random);

#endif
