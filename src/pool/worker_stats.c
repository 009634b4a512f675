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

void stats_add_wait(struct worker_stats *stats, uint64_t wait_us)
{
	histogram_record(&wait_scale, stats->wait_us, wait_us);
}

void stats_sum(const struct worker_stats *stats, struct worker_stats *sum)
{
	stat_add(&sum->taken, stat_get(&stats->taken));
	stat_add(&sum->handed_in, stat_get(&stats->handed_in));
	stat_add(&sum->handed_out, stat_get(&stats->handed_out));
	for (size_t i = 0; i < CONN_END_COUNT; i++)
		stat_add(&sum->ended[i], stat_get(&stats->ended[i]));
	stat_add(&sum->received_bytes, stat_get(&stats->received_bytes));
	stat_add(&sum->sent_bytes, stat_get(&stats->sent_bytes));
	histogram_add(&wait_scale, sum->wait_us, stats->wait_us);
}

void stats_sum_waits(const struct worker_stats *stats, struct wait_totals *totals)
{
	histogram_add(&wait_scale, totals->count, stats->wait_us);
}

void wait_totals_subtract(struct wait_totals *totals, const struct wait_totals *earlier)
{
	histogram_subtract(&wait_scale, totals->count, earlier->count);
}

uint64_t wait_totals_quantile(const struct wait_totals *totals, double share)
{
	return histogram_highest(&wait_scale,
				 histogram_quantile(&wait_scale, totals->count, share));
}
