/*
 * Latencies: a histogram whose figures are less than 0.8 % away from the sample, with the mean and
 * the longest exactly.
 *
 * Each thread writes its own; the main thread may add it to another at any moment, and then sees
 * each count as it was a moment ago.
 */
#ifndef ECHOLOAD_LATENCY_H
#define ECHOLOAD_LATENCY_H

#include "echopool/base/histogram.h"

#define LATENCY_STEP_BITS 7U
/* 2^44 ns are nearly five hours; what is longer counts as that. */
#define LATENCY_VALUE_BITS 44U
#define LATENCY_BUCKETS    HISTOGRAM_BUCKETS(LATENCY_STEP_BITS, LATENCY_VALUE_BITS)

struct latency {
	_Atomic uint64_t sum_ns;
	_Atomic uint64_t max_ns;
	_Atomic uint64_t bucket[LATENCY_BUCKETS];
};

/* Counts one latency. Only the thread that owns l. */
void latency_record(struct latency *l, uint64_t ns);

/* Adds what from has counted; the caller owns to. */
void latency_add(struct latency *to, const struct latency *from);

/* How many were counted. */
uint64_t latency_count(const struct latency *l);

/*
 * The smallest latency that at least share (0 to 1) of them do not exceed, to within half a step;
 * share 1 gives the longest exactly. 0 when there is none.
 */
uint64_t latency_quantile_ns(const struct latency *l, double share);

double latency_mean_ns(const struct latency *l);

/* The standard deviation, from the middles of the buckets. */
double latency_deviation_ns(const struct latency *l);

/* The count of a bucket, and the middle of what it holds. */
uint64_t latency_bucket(const struct latency *l, uint32_t bucket, uint64_t *middle_ns);

#endif
