/*
 * Figures; see the header for who writes and who reads.
 */
#include "echopool/pool/worker_stats.h"

#include <stddef.h>

static const struct histogram_scale wait_scale = {WAIT_STEP_BITS, WAIT_BUCKETS};

const char *conn_end_name(enum conn_end end)
{
	static const char *const names[CONN_END_COUNT] = {
		[CONN_END_CLIENT] = "client",
		[CONN_END_RESET] = "reset",
		[CONN_END_ERROR] = "error",
		[CONN_END_IDLE] = "idle",
		[CONN_END_IDLE_WHEN_FULL] = "idle-when-full",
		[CONN_END_CROWDED] = "crowded",
		[CONN_END_WRITE] = "write-timeout",
		[CONN_END_DRAIN] = "drain",
	};

	return names[end];
}

void wait_totals_add(struct wait_totals *totals, uint64_t wait_us)
{
	histogram_record(&wait_scale, totals->count, wait_us);
	stat_add(&totals->sum_us, wait_us);
}

void stats_sum(const struct worker_stats *stats, struct worker_stats *sum)
{
	stat_add(&sum->taken, stat_get(&stats->taken));
	stat_add(&sum->handed_in, stat_get(&stats->handed_in));
	stat_add(&sum->handed_out, stat_get(&stats->handed_out));
	stat_add(&sum->rebalanced, stat_get(&stats->rebalanced));
	for (size_t i = 0; i < CONN_END_COUNT; i++)
		stat_add(&sum->ended[i], stat_get(&stats->ended[i]));
	stat_add(&sum->received_bytes, stat_get(&stats->received_bytes));
	stat_add(&sum->sent_bytes, stat_get(&stats->sent_bytes));
	wait_totals_sum(&stats->waits, &sum->waits);
	stat_add(&sum->wakeups, stat_get(&stats->wakeups));
	stat_add(&sum->events, stat_get(&stats->events));
	stat_add(&sum->full_batches, stat_get(&stats->full_batches));
	stat_add(&sum->polled_ns, stat_get(&stats->polled_ns));
}

void wait_totals_sum(const struct wait_totals *waits, struct wait_totals *totals)
{
	histogram_add(&wait_scale, totals->count, waits->count);
	stat_add(&totals->sum_us, stat_get(&waits->sum_us));
}

void wait_totals_subtract(struct wait_totals *totals, const struct wait_totals *earlier)
{
	histogram_subtract(&wait_scale, totals->count, earlier->count);
	stat_add(&totals->sum_us, -stat_get(&earlier->sum_us));
}

uint64_t wait_totals_below(const struct wait_totals *totals, uint64_t wait_us)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < WAIT_BUCKETS && histogram_lowest(&wait_scale, i) < wait_us; i++)
		sum += stat_get(&totals->count[i]);
	return sum;
}

uint64_t wait_totals_count(const struct wait_totals *totals)
{
	return histogram_count(&wait_scale, totals->count);
}

uint64_t wait_totals_quantile(const struct wait_totals *totals, double share)
{
	return histogram_highest(&wait_scale,
				 histogram_quantile(&wait_scale, totals->count, share));
}
