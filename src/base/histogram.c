/*
 * Histograms; see the header. The position of the highest bit of a value says how far to shift it
 * until step_bits + 1 bits are left, which name the step. The lowest 2^(step_bits + 1) values are
 * not shifted.
 */
#include "echopool/base/histogram.h"

static uint32_t bucket_of(const struct histogram_scale *scale, uint64_t value)
{
	const uint64_t steps = UINT64_C(1) << scale->step_bits;
	uint64_t bucket = value;
	uint32_t shift;

	if (value >= 2 * steps) {
		shift = 63U - (uint32_t)__builtin_clzll(value) - scale->step_bits;
		bucket = shift * steps + (value >> shift);
	}
	return bucket < scale->buckets ? (uint32_t)bucket : scale->buckets - 1;
}

uint64_t histogram_lowest(const struct histogram_scale *scale, uint32_t bucket)
{
	const uint64_t steps = UINT64_C(1) << scale->step_bits;
	uint64_t shift;

	if (bucket < 2 * steps)
		return bucket;
	shift = bucket / steps - 1;
	return (bucket - shift * steps) << shift;
}

uint64_t histogram_highest(const struct histogram_scale *scale, uint32_t bucket)
{
	return histogram_lowest(scale, bucket + 1) - 1;
}

void histogram_record(const struct histogram_scale *scale, _Atomic uint64_t *count, uint64_t value)
{
	stat_add(&count[bucket_of(scale, value)], 1);
}

void histogram_add(const struct histogram_scale *scale, _Atomic uint64_t *to,
		   const _Atomic uint64_t *from)
{
	for (uint32_t i = 0; i < scale->buckets; i++)
		stat_add(&to[i], stat_get(&from[i]));
}

void histogram_subtract(const struct histogram_scale *scale, _Atomic uint64_t *to,
			const _Atomic uint64_t *from)
{
	for (uint32_t i = 0; i < scale->buckets; i++)
		stat_add(&to[i], -stat_get(&from[i]));
}

uint64_t histogram_count(const struct histogram_scale *scale, const _Atomic uint64_t *count)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < scale->buckets; i++)
		sum += stat_get(&count[i]);
	return sum;
}

uint32_t histogram_quantile(const struct histogram_scale *scale, const _Atomic uint64_t *count,
			    double share)
{
	const double rank = share * (double)histogram_count(scale, count);
	uint64_t seen = 0;

	for (uint32_t i = 0; i < scale->buckets; i++) {
		seen += stat_get(&count[i]);
		if (seen && (double)seen >= rank)
			return i;
	}
	return 0;
}
