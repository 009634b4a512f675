/*
 * echoload's latencies against exact quantiles of the same samples.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cmocka_setup.h"
#include "latency.h"

#define SAMPLES 100000

static struct latency latency;

static int reset(void **state)
{
	(void)state;
	memset(&latency, 0, sizeof(latency));
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
	assert_int_equal(latency_count(&latency), 0);
	assert_int_equal(latency_quantile_ns(&latency, 0.5), 0);
	assert_int_equal(latency_quantile_ns(&latency, 1), 0);
	assert_true(latency_mean_ns(&latency) == 0);
}

static void test_one_is_every_quantile(void **state)
{
	(void)state;
	latency_record(&latency, 123456789);
	assert_int_equal(latency_quantile_ns(&latency, 1), 123456789);
	assert_int_equal(latency_quantile_ns(&latency, 0.5), 123456789);
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
		latency_record(&latency, samples[i]);
	}
	qsort(samples, SAMPLES, sizeof(samples[0]), compare);
	for (size_t i = 0; i < sizeof(shares) / sizeof(shares[0]); i++) {
		const double right = (double)exact(samples, shares[i]);
		const double found = (double)latency_quantile_ns(&latency, shares[i]);

		if (fabs(found - right) > 0.01 * right)
			fail_msg("share %g: %g instead of %g", shares[i], found, right);
	}
	assert_int_equal(latency_count(&latency), SAMPLES);
	assert_true(fabs(latency_mean_ns(&latency) - sum / SAMPLES) < 1);
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
	latency_record(&latency, UINT64_MAX);
	assert_int_equal(latency_count(&latency), 1);
	assert_true(latency_quantile_ns(&latency, 1) >= UINT64_C(1) << 43);
}

static void test_a_sum_has_what_both_have(void **state)
{
	static struct latency other;

	(void)state;
	memset(&other, 0, sizeof(other));
	latency_record(&latency, 100);
	latency_record(&other, 200);
	latency_record(&other, 5000);
	latency_add(&latency, &other);
	assert_int_equal(latency_count(&latency), 3);
	assert_int_equal(latency_quantile_ns(&latency, 0.5), 200);
	assert_int_equal(latency_quantile_ns(&latency, 1), 5000);
}

static void test_the_counts_of_all_buckets_are_what_was_counted(void **state)
{
	uint64_t middle_ns, count = 0;

	(void)state;
	latency_record(&latency, 77);
	latency_record(&latency, 77777);
	for (uint32_t i = 0; i < LATENCY_BUCKETS; i++) {
		const uint64_t here = latency_bucket(&latency, i, &middle_ns);

		if (here && count == 0)
			assert_int_equal(middle_ns, 77);
		else if (here)
			assert_in_range(middle_ns, 77000, 78500);
		count += here;
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
		cmocka_unit_test_setup(test_the_counts_of_all_buckets_are_what_was_counted, reset),
	};

	return cmocka_run_group_tests_name("echoload_latency", tests, NULL, NULL);
}
