/*
 * What a run's counts mean: whether it went well, and whether the open loop's schedule was kept.
 */
#include <math.h>
#include <stdlib.h>

#include "cmocka_setup.h"
#include "result.h"

static const struct options options = {.threads = 2, .percentile = {50, 99}, .percentile_count = 2};

/* A result with an empty tally, for result_free(). */
static struct result fresh(double seconds)
{
	const struct result r = {.options = &options, .seconds = seconds, .tally = tally_new()};

	assert_non_null(r.tally);
	return r;
}

/* Whether a schedule was kept of which so many messages were sent, in time, late, and never. */
static bool kept(uint64_t in_time, uint64_t late, uint64_t after_the_end, uint64_t never)
{
	struct result r = fresh(1);
	bool found;

	stat_add(&r.tally->asked, in_time + late + after_the_end);
	stat_add(&r.tally->gone, in_time + late + after_the_end);
	stat_add(&r.tally->sent, in_time + late);
	stat_add(&r.tally->late, late);
	stat_add(&r.tally->unsent, never);
	assert_int_equal(result_due(&r), in_time + late + after_the_end + never);
	found = result_kept_schedule(&r);
	result_free(&r);
	return found;
}

static void test_a_schedule_is_kept_where_one_in_a_hundred_is_not(void **state)
{
	(void)state;
	assert_true(kept(100, 0, 0, 0));
	assert_true(kept(99, 1, 0, 0));
	assert_false(kept(98, 2, 0, 0));
	assert_true(kept(99, 0, 1, 0));
	assert_false(kept(98, 0, 2, 0));
	assert_true(kept(99, 0, 0, 1));
	assert_false(kept(98, 0, 0, 2));
	assert_false(kept(98, 0, 1, 1));
	assert_true(kept(985, 5, 5, 5));
}

static void test_a_few_messages_leave_no_room_for_one(void **state)
{
	(void)state;
	assert_true(kept(1, 0, 0, 0));
	assert_false(kept(0, 0, 0, 1));
	assert_false(kept(50, 1, 0, 0));
	assert_false(kept(50, 0, 0, 1));
}

static void test_a_run_is_well_with_an_answer_and_without_a_fault(void **state)
{
	struct result r = fresh(1);

	(void)state;
	stat_add(&r.tally->opened, 1);
	assert_false(result_is_ok(&r)); /* it came, but nothing was measured */
	stat_add(&r.tally->echoes, 1);
	assert_true(result_is_ok(&r));
	for (int fault = FAULT_NONE + 1; fault < FAULT_COUNT; fault++) {
		stat_add(&r.tally->fault[fault], 1);
		assert_false(result_is_ok(&r));
		stat_add(&r.tally->fault[fault], (uint64_t)-1);
	}
	stat_add(&r.tally->unanswered, 1);
	assert_false(result_is_ok(&r));
	result_free(&r);
}

/* It may have come after the measured time, to what was sent in it. */
static void test_a_late_answer_is_measured_too(void **state)
{
	struct result r = fresh(1);

	(void)state;
	latency_record(&r.tally->latency, 1000);
	assert_true(result_is_ok(&r));
	result_free(&r);
}

static void test_the_cpu_of_an_echo_is_of_the_echoes_of_the_same_time(void **state)
{
	struct result r = fresh(2);

	(void)state;
	assert_true(isnan(result_us_for_an_echo(&r, 0.5)));
	stat_add(&r.tally->echoes, 1000);
	assert_true(result_a_second(&r, &r.tally->echoes) == 500);
	/* The CPU was read long after the end of the measured time, and so were the answers. */
	r.cpu_answers = 2000;
	assert_true(result_us_for_an_echo(&r, 0.5) == 250);
	r.seconds = 0;
	assert_true(result_a_second(&r, &r.tally->echoes) == 0);
	result_free(&r);
}

/* Counts a hundred messages, of which some took longer by the generator's fault. */
static struct result delayed(uint32_t count, uint64_t by_ns)
{
	struct result r = fresh(1);

	for (uint32_t i = 0; i < 100; i++) {
		latency_record(&r.tally->undelayed, 1000000);
		latency_record(&r.tally->latency, 1000000 + (i < count ? by_ns : 0));
	}
	return r;
}

static void test_a_generator_that_changes_a_percentile_disturbs(void **state)
{
	static const struct {
		uint32_t count;
		uint64_t by_ns;
		bool disturbs;
	} cases[] = {{0, 0, false},
		     {100, 80000, false},
		     {100, 300000, true},
		     {2, 300000, true},
		     {1, 20000000, false}};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct result r = delayed(cases[i].count, cases[i].by_ns);

		assert_int_equal(result_is_disturbed(&r), cases[i].disturbs);
		result_free(&r);
	}
}

/* Of what was due long before the measured time there may be no latencies. */
static void test_a_generator_that_is_late_disturbs_without_any_latency(void **state)
{
	struct result r = fresh(1);

	(void)state;
	stat_add(&r.tally->gone, 100);
	stat_add(&r.tally->late, 1);
	assert_false(result_is_disturbed(&r));
	stat_add(&r.tally->late, 1);
	assert_true(result_is_disturbed(&r));
	result_free(&r);
}

/* Throughput is lost in the closed loop; the open loop has its schedule. */
static void test_a_generator_that_was_held_up_for_long_disturbs_the_closed_loop(void **state)
{
	struct options open = options;
	struct result r = fresh(10);

	(void)state;
	open.rate = 100;
	stat_add(&r.tally->held_ns, 1000000000);
	assert_false(result_is_disturbed(&r));
	stat_add(&r.tally->held_ns, 1);
	assert_true(result_is_disturbed(&r));
	r.options = &open;
	assert_false(result_is_disturbed(&r));
	result_free(&r);
}

static void test_the_time_of_being_held_up_is_that_of_all_threads(void **state)
{
	struct result r = fresh(10);

	(void)state;
	stat_add(&r.tally->held_ns, 5000000000);
	assert_true(result_held_share(&r) == 0.25);
	r.seconds = 0;
	assert_true(result_held_share(&r) == 0);
	result_free(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_schedule_is_kept_where_one_in_a_hundred_is_not),
		cmocka_unit_test(test_a_few_messages_leave_no_room_for_one),
		cmocka_unit_test(test_a_run_is_well_with_an_answer_and_without_a_fault),
		cmocka_unit_test(test_a_late_answer_is_measured_too),
		cmocka_unit_test(test_the_cpu_of_an_echo_is_of_the_echoes_of_the_same_time),
		cmocka_unit_test(test_a_generator_that_changes_a_percentile_disturbs),
		cmocka_unit_test(test_a_generator_that_is_late_disturbs_without_any_latency),
		cmocka_unit_test(
			test_a_generator_that_was_held_up_for_long_disturbs_the_closed_loop),
		cmocka_unit_test(test_the_time_of_being_held_up_is_that_of_all_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
