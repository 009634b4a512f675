/*
 * CPU use: of this process, of the server and its children, of the machine. Main thread.
 */
#ifndef ECHOLOAD_CPU_H
#define ECHOLOAD_CPU_H

#include <sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "echopool/base/cpu_quota.h"
#include "family.h"

struct cpu_thread {
	pid_t id;
	uint64_t at_ns; /* CLOCK_MONOTONIC, when it was read: reading many takes long */
	double used_s;
};

/* The threads of a moment, in the order of their ids. */
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
	uint32_t server_tasks; /* threads of these processes */
	uint32_t server_cpus;  /* that the server may use */
	bool server_lives;

	/* CPUs that the cgroups' quota gives; 0: there is none. */
	double quota;
	double server_quota;
	struct cpu_throttling throttling;
	struct cpu_throttling server_throttling;

	struct cpu_threads generator;
	struct cpu_threads server;
};

/* What was used between two samples: CPU seconds a second. */
struct cpu_use {
	double generator;
	double server;  /* NAN: it has ended meanwhile, or a child that nobody waited for */
	double machine; /* share of the CPUs that this process may use, 0 to 1 */
	double generator_busiest; /* the busiest thread of those in both samples */
	double server_busiest;
	double generator_s; /* CPU seconds between the samples */
	double server_s;    /* the same; NAN as above */
	uint32_t server_tasks;
	uint32_t server_cpus; /* that the server may use */
	uint32_t cpus;        /* that this process may use */
	double quota;         /* CPUs of the quota that was used up more often, of both; 0: none */
	double throttled;     /* share of its periods in which it was used up, 0 to 1 */
};

/*
 * Samples at the begin and at the end of a time, for cpu_between(). family is the server's, updated
 * shortly before the begin. The samples' own cost counts for nobody: the generator is read last at
 * the begin and first at the end. What /proc lacks counts as 0. cpu_sample_free() frees a sample.
 */
struct cpu_sample cpu_sample_begin(struct family *family);
struct cpu_sample cpu_sample_end(struct family *family);
void cpu_sample_free(struct cpu_sample *s);

/*
 * Fills in busy_s and all_s of a sample that has its cpus, from a file like /proc/stat: the sums of
 * the CPUs in may_use. Where the file numbers CPUs differently, as in some containers, the sums of
 * all.
 */
void cpu_read_stat(struct cpu_sample *s, FILE *stat, const cpu_set_t *may_use);

struct cpu_use cpu_between(const struct cpu_sample *before, const struct cpu_sample *after);

#endif
