/*
 * What a run was limited by: pure functions of figures, for any thread.
 */
#ifndef ECHOLOAD_LIMIT_H
#define ECHOLOAD_LIMIT_H

#include <stdbool.h>
#include <stdint.h>

#include "cpu.h"

enum limit {
	LIMIT_NONE,
	LIMIT_QUOTA,     /* the CPU quota of the generator's or the server's cgroup was used up */
	LIMIT_GENERATOR, /* one thread of it, or all together, had no time left */
	LIMIT_SERVER,    /* the same for the server */
	LIMIT_MACHINE,   /* the generator's CPUs were full, and not only of its own work */
};

/* threads are the generator's. A server whose figures are not known is never the limit. */
enum limit limit_of(const struct cpu_use *use, uint32_t threads);

/*
 * Whether a latency that was seen is further from what a generator that is never late would have
 * seen than the error that echoload(1) states. Both in nanoseconds.
 */
bool limit_is_changed(double seen_ns, double undelayed_ns);

/*
 * The same of throughput in the closed loop: the share of the time in which the generator was held
 * up is what it can have lost.
 */
bool limit_loses(double held_share);

/* "none", "quota", "generator", "server", "machine": a word of the report. */
const char *limit_name(enum limit limit);

#endif
