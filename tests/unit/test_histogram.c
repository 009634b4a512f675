/*
 * Histograms against exact quantiles of the same samples, on a coarse and on a fine scale.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cmocka_setup.h"
#include "echopool/base/histogram.h"

#define SAMPLES     20000
#define BUCKETS_MAX HISTOGRAM_BUCKETS(7U, 44U)

static const struct histogram_scale scales[] = {
	{4, HISTOGRAM_BUCKETS(4U, 35U)},
	{7, BUCKETS_MAX},
};

static _Atomic uint64_t count[BUCKETS_MAX];
static _Atomic uint64_t other[BUCKETS_MAX];

/* Calls check once for each scale, with empty histograms. */
static void on_each_scale(void (*check)(const struct histogram_scale *scale))
{
	for (size_t i = 0; i < sizeof(scales) / sizeof(scales[0]); i++) {
		memset(count, 0, sizeof(count));
		memset(other, 0, sizeof(other));
		check(&scales[i]);
	}
}

static void check_none(const struct histogram_scale *scale)
{
	assert_int_equal(histogram_count(scale, count), 0);
	assert_int_equal(histogram_highest(scale, histogram_quantile(scale, count, 0.5)), 0);
	assert_int_equal(histogram_highest(scale, histogram_quantile(scale, count, 1)), 0);
}

static void test_none_is_zero(void **state)
{
	(void)state;
	on_each_scale(check_none);
}

/* Each bucket begins where the one before it ends, and is no wider than its scale allows. */
static void check_buckets(const struct histogram_scale *scale)
{
	uint64_t next = 0;

	for (uint32_t i = 0; i < scale->buckets; i++) {
		const uint64_t lowest = histogram_lowest(scale, i);
		const uint64_t highest = histogram_highest(scale, i);

		assert_int_equal(lowest, next);
		assert_in_range(highest, lowest, lowest + (lowest >> scale->step_bits));
		next = highest + 1;
	}
	assert_int_equal(next, UINT64_C(1) << (scale->step_bits == 4 ? 35 : 44));
}

static void test_buckets_leave_no_gap_and_are_narrow(void **state)
{
	(void)state;
	on_each_scale(check_buckets);
}

static void check_edges(const struct histogram_scale *scale)
{
	for (uint32_t i = 0; i < scale->buckets; i++) {
		histogram_record(scale, count, histogram_lowest(scale, i));
		histogram_record(scale, count, histogram_highest(scale, i));
	}
	for (uint32_t i = 0; i < scale->buckets; i++)
		assert_int_equal(stat_get(&count[i]), 2);
	assert_int_equal(histogram_count(scale, count), 2 * scale->buckets);
}

static void test_both_ends_of_a_bucket_count_in_it(void **state)
{
	(void)state;
	on_each_scale(check_edges);
}

static void check_past_all_bounds(const struct histogram_scale *scale)
{
	histogram_record(scale, count, histogram_highest(scale, scale->buckets - 1) + 1);
	histogram_record(scale, count, UINT64_MAX);
	assert_int_equal(stat_get(&count[scale->buckets - 1]), 2);
	assert_int_equal(histogram_quantile(scale, count, 0.5), scale->buckets - 1);
}

static void test_what_is_past_all_bounds_counts_in_the_last_bucket(void **state)
{
	(void)state;
	on_each_scale(check_past_all_bounds);
}

static int compare(const void *a, const void *b)
{
	const uint64_t x = *(const uint64_t *)a;
	const uint64_t y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static void check_quantiles(const struct histogram_scale *scale)
{
	static const double shares[] = {0, 0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999, 1};
	static uint64_t samples[SAMPLES];

	srandom(1);
	for (size_t i = 0; i < SAMPLES; i++) {
		/* Each power of two is equally likely. */
		samples[i] = 1 + ((uint64_t)random() >> (random() % 31));
		histogram_record(scale, count, samples[i]);
	}
	qsort(samples, SAMPLES, sizeof(samples[0]), compare);
	for (size_t i = 0; i < sizeof(shares) / sizeof(shares[0]); i++) {
		const size_t rank = (size_t)ceil(shares[i] * SAMPLES);
		const uint64_t exact = samples[rank ? rank - 1 : 0];
		const uint32_t found = histogram_quantile(scale, count, shares[i]);

		assert_in_range(exact, histogram_lowest(scale, found),
				histogram_highest(scale, found));
	}
}

static void test_a_quantile_is_in_the_bucket_that_is_found(void **state)
{
	(void)state;
	on_each_scale(check_quantiles);
}

static void check_sum_and_difference(const struct histogram_scale *scale)
{
	histogram_record(scale, count, 7);
	histogram_record(scale, other, 7);
	histogram_record(scale, other, 5);
	histogram_add(scale, count, other);
	assert_int_equal(histogram_count(scale, count), 3);
	assert_int_equal(stat_get(&count[7]), 2);
	assert_int_equal(stat_get(&count[5]), 1);
	assert_int_equal(histogram_count(scale, other), 2);
	histogram_subtract(scale, count, other);
	assert_int_equal(histogram_count(scale, count), 1);
	assert_int_equal(stat_get(&count[7]), 1);
}

static void test_a_difference_takes_away_what_a_sum_has_added(void **state)
{
	(void)state;
	on_each_scale(check_sum_and_difference);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_none_is_zero),
		cmocka_unit_test(test_buckets_leave_no_gap_and_are_narrow),
		cmocka_unit_test(test_both_ends_of_a_bucket_count_in_it),
		cmocka_unit_test(test_what_is_past_all_bounds_counts_in_the_last_bucket),
		cmocka_unit_test(test_a_quantile_is_in_the_bucket_that_is_found),
		cmocka_unit_test(test_a_difference_takes_away_what_a_sum_has_added),
	};

	return cmocka_run_group_tests_name("histogram", tests, NULL, NULL);
}
