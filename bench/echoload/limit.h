/*
 * What a run was limited by. It is decided here alone, and from figures alone: nothing is read or
 * kept, so any thread may call it.
 */
#ifndef ECHOLOAD_LIMIT_H
#define ECHOLOAD_LIMIT_H

#include <stdint.h>

#include "cpu.h"

enum limit {
	LIMIT_NONE,
	LIMIT_GENERATOR, /* a thread of it, or all of them together, had no time left */
	LIMIT_SERVER,    /* the same of the server */
	LIMIT_MACHINE,   /* the CPUs that the generator may use were full, and not of itself */
};

/* For a generator with so many threads. A server whose figures are not known is never at it. */
enum limit limit_of(const struct cpu_use *use, uint32_t threads);

/* "none", "generator", "server", "machine": a word of the report. */
const char *limit_name(enum limit limit);

#endif
