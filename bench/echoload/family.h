/*
 * The server's processes, and what /proc says of a process or a thread. Main thread.
 */
#ifndef ECHOLOAD_FAMILY_H
#define ECHOLOAD_FAMILY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* One process, as /proc/PID/stat has it, or one thread. */
struct process {
	pid_t pid;
	pid_t parent;
	char state;
	uint32_t tasks;
	uint64_t began; /* ticks since the system began: no two with one pid have the same */
	double used_s;  /* to the tick: 10 ms on most systems */
	double ended_children_s;
	bool counts; /* is the server or descends from it */
	bool is_new; /* counts since the last update */
};

struct family {
	pid_t server; /* 0: none */

	/* All processes that were seen, by pid. */
	struct process *list;
	size_t count;
};

/*
 * Finds processes that are not known yet, and marks those that count. It reads a file for each of
 * them, so the first update takes long where there are many.
 */
void family_update(struct family *f);
void family_free(struct family *f);

/* directory: "/proc" or that of a process's threads. False: it has ended. */
bool process_read(const char *directory, pid_t id, struct process *p);

/*
 * The CPU time of a thread; directory: that of its process's threads. In nanoseconds where the
 * kernel counts them, otherwise in ticks. Below 0: it has ended.
 */
double thread_used_s(const char *directory, pid_t id);

#endif
