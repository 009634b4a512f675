/*
 * A run of the load from its first connection to the last answer, and what came of it. Main thread.
 */
#ifndef ECHOLOAD_RUN_H
#define ECHOLOAD_RUN_H

#include <stdbool.h>
#include <stdint.h>

#include "cpu.h"
#include "options.h"
#include "tally.h"
#include "target.h"

struct result {
	const struct options *options;
	double seconds;      /* that were measured */
	struct tally *tally; /* of all threads */
	uint32_t starved;
	uint64_t fewest_echoes; /* of one client; UINT64_MAX without any */
	uint64_t most_echoes;
	struct cpu_use cpu;
};

/*
 * Runs the load that o asks for against server, from sources, with a live line on stderr where that
 * is a terminal. SIGINT and SIGTERM end it early. Returns false, after a sentence on stderr, when
 * the system refused something; else r has the result, and run_free() frees it.
 */
bool run(const struct options *o, const union address *server, const struct sources *sources,
	 struct result *r);
void run_free(struct result *r);

/* Whether no byte was wrong, no connection failed, and at least one answer came. */
bool run_is_ok(const struct result *r);

/* What was at its limit: "generator", "server", "machine" or "none". */
const char *run_limited_by(const struct result *r);

/* What a count of the tally, taken in the measured time, makes a second. */
double run_a_second(const struct result *r, const _Atomic uint64_t *count);

/* What cpu, in CPU seconds a second, makes for each echo; NAN: there was no echo. */
double run_us_for_an_echo(const struct result *r, double cpu);

/* The open loop: how many messages (or connections) the schedule had in the measured time. */
double run_scheduled(const struct result *r);

/* Whether the open loop's schedule was kept: sent, and by this generator in time. */
bool run_kept_schedule(const struct result *r);

#endif
