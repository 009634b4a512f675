/*
 * A pool that stays saturated is told in the log: some wait, no worker has room, and who holds most
 * of the workers. Main thread.
 */
#ifndef ECHOPOOL_CONTROL_STARVATION_H
#define ECHOPOOL_CONTROL_STARVATION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct parts;

/* Starts as zero; then starvation_check() at once, and after each wake-up. The main thread's. */
struct starvation {
	uint64_t due_ns;   /* when to look again; UINT64_MAX: when the queue rings */
	uint64_t since_ns; /* the spell that was told; 0: none is, or its end was told too */
	uint64_t told_ns;  /* when the last one was */
};

/* Logs that the pool has been saturated for a second, and that this is over, where it is due. */
void starvation_check(struct starvation *s, const struct parts *p);

/* When to call it without a bell; UINT64_MAX: never. */
uint64_t starvation_due_ns(const struct starvation *s);

/*
 * What is wrong with a pool that is saturated since then, in words: "3 wait, no worker has room;
 * 10.0.0.5 holds 61 %". Returns text.
 */
const char *starvation_text(const struct parts *p, uint32_t waiting, char *text, size_t bytes);

#endif
