/*
 * What came of a run, and what it means. Main thread.
 */
#ifndef ECHOLOAD_RESULT_H
#define ECHOLOAD_RESULT_H

#include <stdbool.h>
#include <stdint.h>

#include "cpu.h"
#include "options.h"
#include "tally.h"

struct result {
	const struct options *options;
	double seconds;      /* that were measured */
	struct tally *tally; /* of all threads */
	uint32_t starved;
	uint64_t fewest_echoes; /* of one client; UINT64_MAX without any */
	uint64_t most_echoes;
	struct cpu_use cpu;
};

void result_free(struct result *r);

/* Whether no byte was wrong, no connection failed, and at least one answer came. */
bool result_is_ok(const struct result *r);

/* What a count of the tally, taken in the measured time, makes a second. */
double result_a_second(const struct result *r, const _Atomic uint64_t *count);

/* What cpu, in CPU seconds a second, makes for each echo; NAN: there was no echo. */
double result_us_for_an_echo(const struct result *r, double cpu);

/* The open loop: how many messages (or connections) the schedule had in the measured time. */
uint64_t result_due(const struct result *r);

/*
 * Whether the open loop's schedule was kept: sent, and by this generator in time. Something must
 * have been due.
 */
bool result_kept_schedule(const struct result *r);

#endif
