/*
 * Latencies, counted; see the header.
 */
#include "latency.h"

#include <math.h>

#include "echopool/base/counter.h"

static uint32_t bucket_of(uint64_t ns)
{
	uint32_t shift;

	if (ns < 2 * LATENCY_STEPS)
		return (uint32_t)ns;
	shift = 63U - (uint32_t)__builtin_clzll(ns) - LATENCY_STEP_BITS;
	return (uint32_t)(shift * LATENCY_STEPS + (ns >> shift));
}

static uint64_t middle_of(uint32_t bucket)
{
	uint32_t shift;

	if (bucket < 2 * LATENCY_STEPS)
		return bucket;
	shift = (uint32_t)(bucket / LATENCY_STEPS) - 1;
	return ((bucket - shift * LATENCY_STEPS) << shift) + (UINT64_C(1) << shift) / 2;
}

void latency_record(struct latency *h, uint64_t ns)
{
	if (ns >= UINT64_C(1) << LATENCY_VALUE_BITS)
		ns = (UINT64_C(1) << LATENCY_VALUE_BITS) - 1;
	stat_add(&h->bucket[bucket_of(ns)], 1);
	stat_add(&h->sum_ns, ns);
	if (ns > stat_get(&h->max_ns))
		atomic_store_explicit(&h->max_ns, ns, memory_order_relaxed);
}

void latency_add(struct latency *to, const struct latency *from)
{
	const uint64_t max_ns = stat_get(&from->max_ns);

	for (uint32_t i = 0; i < LATENCY_BUCKETS; i++)
		stat_add(&to->bucket[i], stat_get(&from->bucket[i]));
	stat_add(&to->sum_ns, stat_get(&from->sum_ns));
	if (max_ns > stat_get(&to->max_ns))
		atomic_store_explicit(&to->max_ns, max_ns, memory_order_relaxed);
}

uint64_t latency_count(const struct latency *h)
{
	uint64_t count = 0;

	for (uint32_t i = 0; i < LATENCY_BUCKETS; i++)
		count += stat_get(&h->bucket[i]);
	return count;
}

uint64_t latency_quantile_ns(const struct latency *h, double share)
{
	const uint64_t count = latency_count(h), max_ns = stat_get(&h->max_ns);
	const uint64_t rank = (uint64_t)ceil(share * (double)count);
	uint64_t seen = 0;

	if (count == 0 || rank >= count)
		return count ? max_ns : 0;
	for (uint32_t i = 0; i < LATENCY_BUCKETS; i++) {
		seen += stat_get(&h->bucket[i]);
		if (seen >= rank && seen > 0)
			return middle_of(i) < max_ns ? middle_of(i) : max_ns;
	}
	return max_ns;
}

double latency_mean_ns(const struct latency *h)
{
	const uint64_t count = latency_count(h);

	return count ? (double)stat_get(&h->sum_ns) / (double)count : 0;
}

uint64_t latency_bucket(const struct latency *h, uint32_t bucket, uint64_t *middle_ns)
{
	*middle_ns = middle_of(bucket);
	return stat_get(&h->bucket[bucket]);
}
