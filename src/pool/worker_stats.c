/*
 * Figures; see the header for who writes and who reads.
 */
#include "echopool/pool/worker_stats.h"

#include <stddef.h>

const char *conn_end_name(enum conn_end end)
{
	static const char *const names[CONN_END_COUNT] = {
		[CONN_END_CLIENT] = "client",
		[CONN_END_RESET] = "reset",
		[CONN_END_ERROR] = "error",
		[CONN_END_IDLE] = "idle",
		[CONN_END_IDLE_WHEN_FULL] = "idle-when-full",
		[CONN_END_WRITE] = "write-timeout",
		[CONN_END_DRAIN] = "drain",
	};

	return names[end];
}

/*
 * The first two rows of steps hold single microseconds; from there on the position of the highest
 * bit names the row and the bits below it the step.
 */
static size_t bucket_of(uint64_t us)
{
	size_t row, step, bucket;

	if (us < WAIT_STEPS)
		return (size_t)us;
	row = (size_t)(63 - __builtin_clzll(us)) - 3;
	step = (size_t)(us >> (row - 1)) - WAIT_STEPS;
	bucket = row * WAIT_STEPS + step;
	return bucket < WAIT_BUCKETS ? bucket : WAIT_BUCKETS - 1;
}

/* The largest wait that a bucket holds. */
static uint64_t bucket_top(size_t bucket)
{
	const size_t row = bucket / WAIT_STEPS;
	const uint64_t step = bucket % WAIT_STEPS;

	if (row == 0)
		return step;
	return ((step + WAIT_STEPS + 1) << (row - 1)) - 1;
}

void stats_add_wait(struct worker_stats *stats, uint64_t wait_us)
{
	stat_add(&stats->wait_us[bucket_of(wait_us)], 1);
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
	for (size_t i = 0; i < WAIT_BUCKETS; i++)
		stat_add(&sum->wait_us[i], stat_get(&stats->wait_us[i]));
}

void stats_sum_waits(const struct worker_stats *stats, struct wait_totals *totals)
{
	for (size_t i = 0; i < WAIT_BUCKETS; i++)
		totals->count[i] += stat_get(&stats->wait_us[i]);
}

void wait_totals_subtract(struct wait_totals *totals, const struct wait_totals *earlier)
{
	for (size_t i = 0; i < WAIT_BUCKETS; i++)
		totals->count[i] -= earlier->count[i];
}

uint64_t wait_totals_quantile(const struct wait_totals *totals, double share)
{
	uint64_t all = 0;
	uint64_t seen = 0;
	uint64_t top = 0;

	for (size_t i = 0; i < WAIT_BUCKETS; i++)
		all += totals->count[i];
	for (size_t i = 0; i < WAIT_BUCKETS && (double)seen < share * (double)all; i++) {
		if (totals->count[i])
			top = bucket_top(i);
		seen += totals->count[i];
	}
	return top;
}
