/*
 * echoload's latencies against exact quantiles of the same samples.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cmocka_setup.h"
#include "histogram.h"

#define SAMPLES 100000

static struct histogram histogram;

static int reset(void **state)
{
	(void)state;
	memset(&histogram, 0, sizeof(histogram));
	return 0;
}

static int compare(const void *a, const void *b)
{
	const uint64_t x = *(const uint64_t *)a;
	const uint64_t y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* The smallest sample that at least share of them do not exceed. */
static uint64_t exact(const uint64_t *sorted, double share)
{
	const size_t rank = (size_t)ceil(share * SAMPLES);

	return sorted[rank ? rank - 1 : 0];
}

static void test_none_is_zero(void **state)
{
	(void)state;
	assert_int_equal(histogram_count(&histogram), 0);
	assert_int_equal(histogram_quantile_ns(&histogram, 0.5), 0);
	assert_int_equal(histogram_quantile_ns(&histogram, 1), 0);
	assert_true(histogram_mean_ns(&histogram) == 0);
}

static void test_one_is_every_quantile(void **state)
{
	(void)state;
	histogram_record(&histogram, 123456789);
	assert_int_equal(histogram_quantile_ns(&histogram, 1), 123456789);
	assert_int_equal(histogram_quantile_ns(&histogram, 0.5), 123456789);
}

/* From 1 ns to an hour, as many in each power of ten. */
static uint64_t wide_sample(void)
{
	return (uint64_t)pow(10, 12.55 * drand48());
}

/* As answers come: about 200 us, a few a hundred times as late. */
static uint64_t usual_sample(void)
{
	const double us = 200 - 50 * log(1 - drand48());

	return (uint64_t)(1000 * (drand48() < 0.01 ? 100 * us : us));
}

static void check_quantiles(uint64_t (*sample)(void))
{
	static const double shares[] = {0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999, 0.9999, 1};
	static uint64_t samples[SAMPLES];
	double sum = 0;

	srand48(1);
	for (size_t i = 0; i < SAMPLES; i++) {
		samples[i] = sample();
		sum += (double)samples[i];
		histogram_record(&histogram, samples[i]);
	}
	qsort(samples, SAMPLES, sizeof(samples[0]), compare);
	for (size_t i = 0; i < sizeof(shares) / sizeof(shares[0]); i++) {
		const double right = (double)exact(samples, shares[i]);
		const double found = (double)histogram_quantile_ns(&histogram, shares[i]);

		if (fabs(found - right) > 0.01 * right)
			fail_msg("share %g: %g instead of %g", shares[i], found, right);
	}
	assert_int_equal(histogram_count(&histogram), SAMPLES);
	assert_true(fabs(histogram_mean_ns(&histogram) - sum / SAMPLES) < 1);
}

static void test_quantiles_are_within_1_percent_over_all_powers(void **state)
{
	(void)state;
	check_quantiles(wide_sample);
}

static void test_quantiles_of_usual_latencies_are_within_1_percent(void **state)
{
	(void)state;
	check_quantiles(usual_sample);
}

static void test_what_is_past_all_bounds_is_counted(void **state)
{
	(void)state;
	histogram_record(&histogram, UINT64_MAX);
	assert_int_equal(histogram_count(&histogram), 1);
	assert_true(histogram_quantile_ns(&histogram, 1) >= UINT64_C(1) << 43);
}

static void test_a_sum_has_what_both_have(void **state)
{
	static struct histogram other;

	(void)state;
	memset(&other, 0, sizeof(other));
	histogram_record(&histogram, 100);
	histogram_record(&other, 200);
	histogram_record(&other, 5000);
	histogram_add(&histogram, &other);
	assert_int_equal(histogram_count(&histogram), 3);
	assert_int_equal(histogram_quantile_ns(&histogram, 0.5), 200);
	assert_int_equal(histogram_quantile_ns(&histogram, 1), 5000);
}

static void test_buckets_ascend_and_hold_all(void **state)
{
	uint64_t last_ns = 0, middle_ns, count = 0;

	(void)state;
	histogram_record(&histogram, 77);
	histogram_record(&histogram, 77777);
	for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
		count += histogram_bucket(&histogram, i, &middle_ns);
		assert_true(i == 0 || middle_ns > last_ns);
		last_ns = middle_ns;
	}
	assert_int_equal(count, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_none_is_zero, reset),
		cmocka_unit_test_setup(test_one_is_every_quantile, reset),
		cmocka_unit_test_setup(test_quantiles_are_within_1_percent_over_all_powers, reset),
		cmocka_unit_test_setup(test_quantiles_of_usual_latencies_are_within_1_percent,
				       reset),
		cmocka_unit_test_setup(test_what_is_past_all_bounds_is_counted, reset),
		cmocka_unit_test_setup(test_a_sum_has_what_both_have, reset),
		cmocka_unit_test_setup(test_buckets_ascend_and_hold_all, reset),
	};

	return cmocka_run_group_tests_name("echoload_histogram", tests, NULL, NULL);
}
