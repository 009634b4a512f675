/*
 * How waits are rounded and bounded, the difference of two sums, and the sum of all counters. What
 * a histogram does on any scale is test_histogram.c's.
 */
#include <string.h>

#include "cmocka_setup.h"
#include "echopool/pool/worker_stats.h"

static struct worker_stats stats;

static int reset(void **state)
{
	(void)state;
	memset(&stats, 0, sizeof(stats));
	return 0;
}

static uint64_t quantile(double share)
{
	struct wait_totals totals = {0};

	wait_totals_sum(&stats.waits, &totals);
	return wait_totals_quantile(&totals, share);
}

static void test_no_wait_is_zero(void **state)
{
	(void)state;
	assert_int_equal(quantile(0.5), 0);
	assert_int_equal(quantile(1.0), 0);
}

static void test_small_waits_are_exact(void **state)
{
	(void)state;
	for (uint64_t us = 1; us <= 31; us++)
		wait_totals_add(&stats.waits, us);
	assert_int_equal(quantile(0.5), 16);
	assert_int_equal(quantile(1.0), 31);
}

static void test_a_wait_is_rounded_up_by_at_most_a_sixteenth(void **state)
{
	(void)state;
	/* From microseconds to hours. */
	for (uint64_t us = 1; us < UINT64_C(1) << 34; us += us / 3 + 1) {
		memset(&stats, 0, sizeof(stats));
		wait_totals_add(&stats.waits, us);
		assert_in_range(quantile(0.5), us, us + us / 16);
		assert_in_range(quantile(1.0), us, us + us / 16);
	}
}

static void test_a_wait_past_all_bounds_is_counted(void **state)
{
	(void)state;
	wait_totals_add(&stats.waits, UINT64_MAX);
	assert_true(quantile(1.0) > UINT64_C(30000000000));
}

static void test_a_difference_holds_only_what_came_since(void **state)
{
	struct wait_totals before = {0};
	struct wait_totals after = {0};

	(void)state;
	for (int i = 0; i < 100; i++)
		wait_totals_add(&stats.waits, 1000000);
	wait_totals_sum(&stats.waits, &before);
	wait_totals_add(&stats.waits, 5);
	wait_totals_add(&stats.waits, 7);
	wait_totals_sum(&stats.waits, &after);
	wait_totals_subtract(&after, &before);
	assert_int_equal(wait_totals_quantile(&after, 0.5), 5);
	assert_int_equal(wait_totals_quantile(&after, 1.0), 7);
}

static void test_a_sum_has_every_counter_of_each(void **state)
{
	static struct worker_stats sum;
	struct wait_totals waits = {0};
	uint64_t ends = 0;

	(void)state;
	stat_add(&stats.taken, 1);
	stat_add(&stats.handed_in, 2);
	stat_add(&stats.handed_out, 3);
	stat_add(&stats.received_bytes, 4);
	stat_add(&stats.sent_bytes, 5);
	for (unsigned int end = 0; end < CONN_END_COUNT; end++)
		stat_add(&stats.ended[end], 10 + end);
	wait_totals_add(&stats.waits, 9);
	stats_sum(&stats, &sum);
	stats_sum(&stats, &sum);
	assert_int_equal(stat_get(&sum.taken), 2);
	assert_int_equal(stat_get(&sum.handed_in), 4);
	assert_int_equal(stat_get(&sum.handed_out), 6);
	assert_int_equal(stat_get(&sum.received_bytes), 8);
	assert_int_equal(stat_get(&sum.sent_bytes), 10);
	for (unsigned int end = 0; end < CONN_END_COUNT; end++)
		ends += stat_get(&sum.ended[end]) == 20 + 2 * end;
	assert_int_equal(ends, CONN_END_COUNT);
	wait_totals_sum(&sum.waits, &waits);
	assert_int_equal(stat_get(&waits.count[9]), 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_no_wait_is_zero, reset),
		cmocka_unit_test_setup(test_small_waits_are_exact, reset),
		cmocka_unit_test_setup(test_a_wait_is_rounded_up_by_at_most_a_sixteenth, reset),
		cmocka_unit_test_setup(test_a_wait_past_all_bounds_is_counted, reset),
		cmocka_unit_test_setup(test_a_difference_holds_only_what_came_since, reset),
		cmocka_unit_test_setup(test_a_sum_has_every_counter_of_each, reset),
	};

	return cmocka_run_group_tests_name("worker_stats", tests, NULL, NULL);
}
