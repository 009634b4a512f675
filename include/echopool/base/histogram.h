/*
 * Histograms in HdrHistogram's scheme (https://hdrhistogram.github.io/HdrHistogram/): every power
 * of two is cut into 2^step_bits steps with a bucket each. A bucket is exact up to 2^(step_bits +
 * 1), and beyond that at most 1/2^step_bits as wide as the lowest value that it holds.
 *
 * The buckets are an array of counters (counter.h), which lies where its owner wants it: one thread
 * changes it, any thread may read it. Functions that read see each count as it was a moment ago.
 */
#ifndef ECHOPOOL_BASE_HISTOGRAM_H
#define ECHOPOOL_BASE_HISTOGRAM_H

#include <stdint.h>

#include "echopool/base/counter.h"

/* The buckets for values below 2^value_bits. */
#define HISTOGRAM_BUCKETS(step_bits, value_bits) (((value_bits) - (step_bits) + 1) << (step_bits))

struct histogram_scale {
	uint32_t step_bits;
	uint32_t buckets; /* larger values count in the last one */
};

/* The lowest and the highest value of a bucket. */
uint64_t histogram_lowest(const struct histogram_scale *scale, uint32_t bucket);
uint64_t histogram_highest(const struct histogram_scale *scale, uint32_t bucket);

/* Counts a value. Only the thread that owns count. */
void histogram_record(const struct histogram_scale *scale, _Atomic uint64_t *count, uint64_t value);

/* Adds from to to, or takes it away, bucket by bucket. Only the thread that owns to. */
void histogram_add(const struct histogram_scale *scale, _Atomic uint64_t *to,
		   const _Atomic uint64_t *from);
void histogram_subtract(const struct histogram_scale *scale, _Atomic uint64_t *to,
			const _Atomic uint64_t *from);

/* How many values were counted; any thread. */
uint64_t histogram_count(const struct histogram_scale *scale, const _Atomic uint64_t *count);

/*
 * The bucket of the smallest value that at least share (0 to 1) of the values do not exceed; share
 * 1 gives that of the largest. The first bucket, which holds 0, when there is none. Any thread.
 */
uint32_t histogram_quantile(const struct histogram_scale *scale, const _Atomic uint64_t *count,
			    double share);

#endif
