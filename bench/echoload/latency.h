/*
 * Latencies in HdrHistogram's scheme (https://hdrhistogram.github.io/HdrHistogram/): every power of
 * two is cut into 128 steps, so that a figure read back is less than 0.8 % away from the sample.
 *
 * Each thread writes its own; the main thread may add it to another at any moment, and then sees
 * each count as it was a moment ago. The counts are independent, so relaxed order suffices.
 */
#ifndef ECHOLOAD_LATENCY_H
#define ECHOLOAD_LATENCY_H

#include <stdatomic.h>
#include <stdint.h>

#define LATENCY_STEP_BITS 7U
#define LATENCY_STEPS     (UINT64_C(1) << LATENCY_STEP_BITS)
/* 2^44 ns are nearly five hours; what is longer counts as that. */
#define LATENCY_VALUE_BITS 44U
#define LATENCY_BUCKETS    ((LATENCY_VALUE_BITS - LATENCY_STEP_BITS + 1) * LATENCY_STEPS)

struct latency {
	_Atomic uint64_t sum_ns;
	_Atomic uint64_t max_ns;
	_Atomic uint64_t bucket[LATENCY_BUCKETS];
};

/* Counts one latency. Only the thread that owns the histogram. */
void latency_record(struct latency *h, uint64_t ns);

/* Adds what from has counted; the caller owns to. */
void latency_add(struct latency *to, const struct latency *from);

/* How many were counted. */
uint64_t latency_count(const struct latency *h);

/*
 * The smallest latency that at least share (0 to 1) of them do not exceed, to within half a step;
 * share 1 gives the longest exactly. 0 when there is none.
 */
uint64_t latency_quantile_ns(const struct latency *h, double share);

double latency_mean_ns(const struct latency *h);

/* The count of a bucket, and the middle of what it holds. */
uint64_t latency_bucket(const struct latency *h, uint32_t bucket, uint64_t *middle_ns);

#endif
