/*
 * Latencies, counted; see the header.
 */
#include "histogram.h"

#include <math.h>

#include "echopool/base/counter.h"

static uint32_t bucket_of(uint64_t ns)
{
	uint32_t shift;

	if (ns < 2 * HISTOGRAM_STEPS)
		return (uint32_t)ns;
	shift = 63U - (uint32_t)__builtin_clzll(ns) - HISTOGRAM_STEP_BITS;
	return (uint32_t)(shift * HISTOGRAM_STEPS + (ns >> shift));
}

static uint64_t middle_of(uint32_t bucket)
{
	uint32_t shift;

	if (bucket < 2 * HISTOGRAM_STEPS)
		return bucket;
	shift = (uint32_t)(bucket / HISTOGRAM_STEPS) - 1;
	return ((bucket - shift * HISTOGRAM_STEPS) << shift) + (UINT64_C(1) << shift) / 2;
}

void histogram_record(struct histogram *h, uint64_t ns)
{
	if (ns >= UINT64_C(1) << HISTOGRAM_VALUE_BITS)
		ns = (UINT64_C(1) << HISTOGRAM_VALUE_BITS) - 1;
	stat_add(&h->bucket[bucket_of(ns)], 1);
	stat_add(&h->sum_ns, ns);
	if (ns > stat_get(&h->max_ns))
		atomic_store_explicit(&h->max_ns, ns, memory_order_relaxed);
}

void histogram_add(struct histogram *to, const struct histogram *from)
{
	const uint64_t max_ns = stat_get(&from->max_ns);

	for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++)
		stat_add(&to->bucket[i], stat_get(&from->bucket[i]));
	stat_add(&to->sum_ns, stat_get(&from->sum_ns));
	if (max_ns > stat_get(&to->max_ns))
		atomic_store_explicit(&to->max_ns, max_ns, memory_order_relaxed);
}

uint64_t histogram_count(const struct histogram *h)
{
	uint64_t count = 0;

	for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++)
		count += stat_get(&h->bucket[i]);
	return count;
}

uint64_t histogram_quantile_ns(const struct histogram *h, double share)
{
	const uint64_t count = histogram_count(h), max_ns = stat_get(&h->max_ns);
	const uint64_t rank = (uint64_t)ceil(share * (double)count);
	uint64_t seen = 0;

	if (count == 0 || rank >= count)
		return count ? max_ns : 0;
	for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
		seen += stat_get(&h->bucket[i]);
		if (seen >= rank && seen > 0)
			return middle_of(i) < max_ns ? middle_of(i) : max_ns;
	}
	return max_ns;
}

double histogram_mean_ns(const struct histogram *h)
{
	const uint64_t count = histogram_count(h);

	return count ? (double)stat_get(&h->sum_ns) / (double)count : 0;
}

uint64_t histogram_bucket(const struct histogram *h, uint32_t bucket, uint64_t *middle_ns)
{
	*middle_ns = middle_of(bucket);
	return stat_get(&h->bucket[bucket]);
}
