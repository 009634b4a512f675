/*
 * A schedule: moments at a rate, with equal gaps or, for a Poisson process, exponential ones. Each
 * struct is used by one thread.
 */
#ifndef ECHOLOAD_SCHEDULE_H
#define ECHOLOAD_SCHEDULE_H

#include <stdbool.h>
#include <stdint.h>

#include "random.h"

struct schedule {
	uint64_t due_ns;  /* the next moment, on CLOCK_MONOTONIC */
	double gap_ns;    /* mean; 0: everything is due at once */
	double behind_ns; /* the part of a nanosecond that due_ns lacks */
	bool poisson;
};

/*
 * Begins at now_ns, with the first moment after share (0 to 1) of a gap, so that many schedules
 * can be spread evenly; a Poisson schedule ignores share. rate is moments a second; 0: no limit.
 */
struct schedule schedule_begin(uint64_t now_ns, double rate, double share, bool poisson,
			       struct random *random);

/* Moves to the next moment. */
void schedule_next(struct schedule *s, struct random *random);

/*
 * Moves to the first moment that is not before until_ns, and returns how many are skipped. It takes
 * the same short time for any number: of many in a Poisson process it returns the mean. There must
 * be a rate.
 */
uint64_t schedule_skip(struct schedule *s, uint64_t until_ns, struct random *random);

#endif
