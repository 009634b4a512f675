/*
 * What a run's counts mean: whether it went well, and whether the open loop's schedule was kept.
 */
#include <math.h>
#include <stdlib.h>

#include "cmocka_setup.h"
#include "result.h"

/* A result with an empty tally, for result_free(). */
static struct result fresh(double seconds)
{
	const struct result r = {.seconds = seconds, .tally = tally_new()};

	assert_non_null(r.tally);
	return r;
}

/* Whether a schedule was kept of which so many messages were sent, in time, late, and never. */
static bool kept(uint64_t in_time, uint64_t late, uint64_t after_the_end, uint64_t never)
{
	struct result r = fresh(1);
	bool found;

	stat_add(&r.tally->asked, in_time + late + after_the_end);
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
	assert_false(result_is_ok(&r));
	stat_add(&r.tally->opened, 1);
	assert_true(result_is_ok(&r));
	for (int fault = FAULT_NONE + 1; fault < FAULT_COUNT; fault++) {
		stat_add(&r.tally->fault[fault], 1);
		assert_false(result_is_ok(&r));
		stat_add(&r.tally->fault[fault], (uint64_t)-1);
	}
	result_free(&r);
}

static void test_what_was_counted_makes_so_much_a_second_and_an_echo(void **state)
{
	struct result r = fresh(2);

	(void)state;
	assert_true(isnan(result_us_for_an_echo(&r, 0.5)));
	stat_add(&r.tally->echoes, 1000);
	assert_true(result_a_second(&r, &r.tally->echoes) == 500);
	assert_true(result_us_for_an_echo(&r, 0.5) == 1000);
	r.seconds = 0;
	assert_true(result_a_second(&r, &r.tally->echoes) == 0);
	assert_true(isnan(result_us_for_an_echo(&r, 0.5)));
	result_free(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_schedule_is_kept_where_one_in_a_hundred_is_not),
		cmocka_unit_test(test_a_few_messages_leave_no_room_for_one),
		cmocka_unit_test(test_a_run_is_well_with_an_answer_and_without_a_fault),
		cmocka_unit_test(test_what_was_counted_makes_so_much_a_second_and_an_echo),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
