/*
 * One thread of the load: opens its clients, sends on schedule, counts answers.
 */
#ifndef ECHOLOAD_LOAD_H
#define ECHOLOAD_LOAD_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "client.h"
#include "echopool/base/clock.h"
#include "options.h"
#include "tally.h"
#include "target.h"

/* What all threads share. The main thread writes the times, the others read them. Nothing else
 * depends on their values, so relaxed order suffices. */
struct plan {
	const struct options *options;
	union address server;
	struct sources sources;
	uint64_t origin_ns;        /* the begin of all schedules */
	_Atomic uint64_t begin_ns; /* of the measured time; UINT64_MAX until it is known */
	_Atomic uint64_t end_ns;
	atomic_bool may_end; /* the CPU use was read, so connections may be closed */
	atomic_bool abandon; /* no answer is waited for any more */
	int event_fd; /* an eventfd: each thread adds 1 when it has opened all, 1 at its end */
};

/* A time of the plan must be written so long before it comes, so that all threads know it. */
#define LOAD_NOTICE_NS (50 * NS_PER_MS)

struct load;

/*
 * Makes a thread's part of the load: so many clients that talk and idle ones, numbered from first.
 * Returns NULL, with errno, when memory or descriptors are short. Main thread.
 */
struct load *load_new(struct plan *plan, uint32_t thread, uint32_t talkers, uint32_t idle,
		      uint32_t first);

/* Starts the thread. Returns 0 or the errno value of pthread_create(3). */
int load_start(struct load *l);

/* Waits for the end of the thread. */
void load_join(struct load *l);
void load_free(struct load *l);

/* What it has counted; the main thread may read it at any moment. */
const struct tally *load_tally(const struct load *l);

/* How many connections stand now; any thread. */
uint32_t load_open_now(const struct load *l);

/*
 * After load_join(): updates how many talking clients got no echo, and the fewest and most echoes
 * of one client. These are the echoes of the measured time, or with a rate those that were due in
 * it.
 */
void load_fairness(const struct load *l, uint32_t *starved, uint64_t *fewest, uint64_t *most);

#endif
