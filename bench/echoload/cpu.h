/*
 * Who used the CPUs: this process, the server and its children, everybody. Main thread.
 */
#ifndef ECHOLOAD_CPU_H
#define ECHOLOAD_CPU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct cpu_thread {
	pid_t id;
	double used_s; /* to the tick: 10 ms on most systems */
};

/* The threads that there are now, in the order of their ids. */
struct cpu_threads {
	struct cpu_thread *list;
	size_t count;
};

/* CPU time used until now. */
struct cpu_sample {
	uint64_t at_ns; /* CLOCK_MONOTONIC */
	double generator_s;
	double server_s;       /* of the process, its living and its ended children */
	uint32_t server_tasks; /* threads of the same, now */
	bool server_lives;
	struct cpu_threads generator;
	struct cpu_threads server;
	double busy_s; /* of all CPUs */
	double all_s;  /* busy or idle */
};

/* What was used between two samples: CPU seconds a second. */
struct cpu_use {
	double generator;
	double server;  /* NAN: it has ended meanwhile, or a child of it that nobody waited for */
	double machine; /* share of all CPUs, 0 to 1 */
	double generator_busiest; /* the thread that used most of those that lived all the time */
	double server_busiest;
	uint32_t server_tasks;
	uint32_t cpus; /* online */
};

/*
 * Samples now; server is the server's process or 0. What /proc does not tell counts as 0.
 * cpu_sample_free() frees it.
 */
struct cpu_sample cpu_sample(pid_t server);
void cpu_sample_free(struct cpu_sample *s);

struct cpu_use cpu_between(const struct cpu_sample *before, const struct cpu_sample *after);

#endif
