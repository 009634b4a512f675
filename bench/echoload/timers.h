/*
 * Alarms in the order of their time: a binary heap. Each struct is used by one thread. An alarm
 * lies in its owner's struct, and is in one heap at most.
 */
#ifndef ECHOLOAD_TIMERS_H
#define ECHOLOAD_TIMERS_H

#include <stdbool.h>
#include <stdint.h>

struct alarm {
	uint64_t at_ns; /* on CLOCK_MONOTONIC */
	uint32_t index; /* in the heap, counted from 1; 0: not set */
};

struct timers {
	struct alarm **heap;
	uint32_t count;
};

/* Makes room for limit alarms. False: no memory. */
bool timers_init(struct timers *t, uint32_t limit);
void timers_destroy(struct timers *t);

/* Sets an alarm, or moves it. */
void timers_set(struct timers *t, struct alarm *a, uint64_t at_ns);

/* Removes an alarm if it is set. */
void timers_clear(struct timers *t, struct alarm *a);

/* The next alarm, or NULL. */
struct alarm *timers_first(const struct timers *t);

#endif
