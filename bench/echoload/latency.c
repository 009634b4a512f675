/*
 * Latencies, counted; see the header.
 */
#include "latency.h"

#include <math.h>

static const struct histogram_scale scale = {LATENCY_STEP_BITS, LATENCY_BUCKETS};

static uint64_t middle_of(uint32_t bucket)
{
	const uint64_t lowest = histogram_lowest(&scale, bucket);

	return lowest + (histogram_highest(&scale, bucket) - lowest + 1) / 2;
}

static void note_longest(struct latency *l, uint64_t ns)
{
	if (ns > stat_get(&l->max_ns))
		atomic_store_explicit(&l->max_ns, ns, memory_order_relaxed);
}

void latency_record(struct latency *l, uint64_t ns)
{
	if (ns >= UINT64_C(1) << LATENCY_VALUE_BITS)
		ns = (UINT64_C(1) << LATENCY_VALUE_BITS) - 1;
	histogram_record(&scale, l->bucket, ns);
	stat_add(&l->sum_ns, ns);
	note_longest(l, ns);
}

void latency_add(struct latency *to, const struct latency *from)
{
	histogram_add(&scale, to->bucket, from->bucket);
	stat_add(&to->sum_ns, stat_get(&from->sum_ns));
	note_longest(to, stat_get(&from->max_ns));
}

uint64_t latency_count(const struct latency *l)
{
	return histogram_count(&scale, l->bucket);
}

uint64_t latency_quantile_ns(const struct latency *l, double share)
{
	const uint64_t count = latency_count(l), max_ns = stat_get(&l->max_ns);
	uint64_t middle_ns;

	if (count == 0)
		return 0;
	if (share * (double)count > (double)(count - 1))
		return max_ns;
	middle_ns = middle_of(histogram_quantile(&scale, l->bucket, share));
	return middle_ns < max_ns ? middle_ns : max_ns;
}

double latency_mean_ns(const struct latency *l)
{
	const uint64_t count = latency_count(l);

	return count ? (double)stat_get(&l->sum_ns) / (double)count : 0;
}

double latency_deviation_ns(const struct latency *l)
{
	const double mean_ns = latency_mean_ns(l);
	double sum = 0, count = 0;

	for (uint32_t i = 0; i < LATENCY_BUCKETS; i++) {
		const double n = (double)stat_get(&l->bucket[i]);
		const double off_ns = n > 0 ? (double)middle_of(i) - mean_ns : 0;

		sum += n * off_ns * off_ns;
		count += n;
	}
	return count > 0 ? sqrt(sum / count) : 0;
}

uint64_t latency_bucket(const struct latency *l, uint32_t bucket, uint64_t *middle_ns)
{
	*middle_ns = middle_of(bucket);
	return stat_get(&l->bucket[bucket]);
}
