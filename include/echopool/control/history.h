/*
 * What the status page draws: the last ten minutes by the second, the last day by the minute, and
 * how busy each worker was in the last second. Kept only while the admin endpoint is on. Main
 * thread.
 */
#ifndef ECHOPOOL_CONTROL_HISTORY_H
#define ECHOPOOL_CONTROL_HISTORY_H

#include <stdbool.h>
#include <stdint.h>

#include "echopool/pool/pool.h"

#define HISTORY_SECONDS 600
#define HISTORY_MINUTES 1440

/* The means of one second or one minute. */
struct sample {
	uint32_t connections;
	uint32_t waiting;
	uint32_t saturated; /* thousandths of the time */
	uint32_t cpu;       /* thousandths of one CPU, of all threads; without polls */
};

/* What one worker did in the last second. */
struct worker_rate {
	uint64_t cpu_ns; /* at its end, without what it polled */
	uint64_t sent_bytes;
	uint32_t cpu; /* thousandths of its time */
	uint64_t bytes_per_s;
};

/* The samples from number count - n on are there, each at its number modulo the size of its ring.
 */
struct history {
	struct sample seconds[HISTORY_SECONDS];
	struct sample minutes[HISTORY_MINUTES];
	uint64_t second_count;
	uint64_t minute_count;
	uint64_t sums[4]; /* of the minute that is not over, as the fields of struct sample */
	uint64_t at_ns;   /* of the last sample; 0: there is none */
	uint64_t cpu_ns;
	uint64_t saturated_ns;
	unsigned int workers; /* that have a rate */
	struct worker_rate rates[POOL_WORKERS_MAX];
};

struct server;

/* Takes a sample if a second has passed since the last. */
void history_tick(struct history *h, const struct server *v);

/* When to call history_tick() next. */
uint64_t history_due_ns(const struct history *h);

/* How many samples there are, HISTORY_SECONDS or HISTORY_MINUTES at most, and one, 0 the oldest. */
unsigned int history_size(const struct history *h, bool minutes);
const struct sample *history_at(const struct history *h, bool minutes, unsigned int number);

#endif
