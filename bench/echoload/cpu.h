/*
 * Who used the CPUs: this process, the server and its children, everybody. Main thread.
 */
#ifndef ECHOLOAD_CPU_H
#define ECHOLOAD_CPU_H

#include <sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "family.h"

struct cpu_thread {
	pid_t id;
	uint64_t at_ns; /* CLOCK_MONOTONIC, when it was read: with many, the last is late */
	double used_s;
};

/* The threads that there are now, in the order of their ids. */
struct cpu_threads {
	struct cpu_thread *list;
	size_t count;
};

/* CPU time used until now. */
struct cpu_sample {
	uint64_t at_ns; /* CLOCK_MONOTONIC, for the generator and the machine */
	double generator_s;
	double busy_s; /* of the CPUs that this process may use */
	double all_s;  /* the same, busy or idle */
	uint32_t cpus; /* how many these are */

	uint64_t server_at_ns;
	double server_s;       /* of the process, its living and its ended children */
	uint32_t server_tasks; /* threads of the same, now */
	uint32_t server_cpus;  /* that it may use */
	bool server_lives;

	struct cpu_threads generator;
	struct cpu_threads server;
};

/* What was used between two samples: CPU seconds a second. */
struct cpu_use {
	double generator;
	double server;  /* NAN: it has ended meanwhile, or a child of it that nobody waited for */
	double machine; /* share of the CPUs that this process may use, 0 to 1 */
	double generator_busiest; /* the thread that used most of those that lived all the time */
	double server_busiest;
	uint32_t server_tasks;
	uint32_t server_cpus; /* that the server may use */
	uint32_t cpus;        /* that this process may use */
};

/*
 * Samples at the begin and at the end of a time, whose CPU use cpu_between() tells; family is that
 * of the server, which should have been looked at shortly before the begin. What the samples
 * themselves cost counts as nobody's: the generator is read last at the begin and first at the end.
 * What /proc does not tell counts as 0. cpu_sample_free() frees them.
 */
struct cpu_sample cpu_sample_begin(struct family *family);
struct cpu_sample cpu_sample_end(struct family *family);
void cpu_sample_free(struct cpu_sample *s);

/*
 * Fills in busy_s and all_s of a sample that has its cpus: those of the CPUs in may_use, from a
 * file like /proc/stat, which stays the caller's. Where that does not list them by the same
 * numbers, as in some containers, those of all that it has.
 */
void cpu_read_stat(struct cpu_sample *s, FILE *stat, const cpu_set_t *may_use);

struct cpu_use cpu_between(const struct cpu_sample *before, const struct cpu_sample *after);

#endif
