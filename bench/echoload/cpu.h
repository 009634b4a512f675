/*
 * Who used the CPUs: this process, the server and its children, everybody. Main thread.
 */
#ifndef ECHOLOAD_CPU_H
#define ECHOLOAD_CPU_H

#include <stdint.h>
#include <sys/types.h>

/* CPU time used until now. */
struct cpu_sample {
	uint64_t at_ns; /* CLOCK_MONOTONIC */
	double generator_s;
	double server_s;       /* of the process, its living and its ended children */
	uint32_t server_tasks; /* threads of the same, now */
	double busy_s;         /* of all CPUs */
	double all_s;          /* busy or idle */
};

/* What was used between two samples: CPU seconds a second. */
struct cpu_use {
	double generator;
	double server;  /* NAN: it has ended meanwhile, or a child of it that nobody waited for */
	double machine; /* share of all CPUs, 0 to 1 */
	uint32_t server_tasks;
	uint32_t cpus; /* online */
};

/* Samples now; server is the server's process or 0. What /proc does not tell counts as 0. */
struct cpu_sample cpu_sample(pid_t server);

struct cpu_use cpu_between(const struct cpu_sample *before, const struct cpu_sample *after);

#endif
