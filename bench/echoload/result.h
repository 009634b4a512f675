/*
 * The result of a run, and what it means. Main thread.
 */
#ifndef ECHOLOAD_RESULT_H
#define ECHOLOAD_RESULT_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "cpu.h"
#include "options.h"
#include "tally.h"

struct result {
	const struct options *options;
	double seconds;      /* of the measured time */
	struct tally *tally; /* of all threads */
	uint32_t starved;
	uint64_t fewest_echoes; /* of one client; UINT64_MAX without any */
	uint64_t most_echoes;
	struct cpu_use cpu;
	uint64_t cpu_answers; /* that came in the time that cpu is about */
	time_t began;         /* the measured time; 0: it never did */
	bool interrupted;     /* a signal ended the run before its time */
};

void result_free(struct result *r);

/* Whether an answer was measured: it came in the measured time, or to what was due in it. */
bool result_has_measured(const struct result *r);

/* Whether no byte was wrong, no connection failed, each got its answer, and one was measured. */
bool result_is_ok(const struct result *r);

/* Whether the kernel told when answers came. */
bool result_knows_arrivals(const struct result *r);

/* Whether the generator's own delays change a figure of the result by more than is stated. */
bool result_is_disturbed(const struct result *r);

/* The share of the measured time in which a thread of the generator was held up; see held.h. */
double result_held_share(const struct result *r);

/* A count of the measured time, a second. */
double result_a_second(const struct result *r, const _Atomic uint64_t *count);

/* The CPU time of an echo, from that of all; NAN: there was no echo. */
double result_us_for_an_echo(const struct result *r, double cpu_s);

/* The open loop: how many messages (or connections) the schedule had in the measured time. */
uint64_t result_due(const struct result *r);

/*
 * Whether the open loop's schedule was kept: nearly all was sent, and the generator was not late.
 * Something must have been due.
 */
bool result_kept_schedule(const struct result *r);

#endif
