/*
 * When echoload sends, and what: schedules, alarms, when a thread was held up, and the pattern of
 * bytes.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cmocka_setup.h"
#include "held.h"
#include "pattern.h"
#include "schedule.h"
#include "timers.h"

#define ALARMS 500

static void test_equal_gaps_keep_the_rate_for_a_minute(void **state)
{
	struct random random = random_seeded(1);
	/* 1e9 / 30000 is no whole number of nanoseconds. */
	struct schedule s = schedule_begin(1000, 30000, 0, false, &random);
	const uint64_t first_ns = s.due_ns;

	(void)state;
	assert_int_equal(first_ns, 1000);
	for (uint64_t i = 1; i <= 30000 * 60; i++)
		schedule_next(&s, &random);
	assert_in_range(s.due_ns - first_ns, UINT64_C(60000000000) - 2, UINT64_C(60000000000) + 2);
}

static void test_a_share_of_a_gap_goes_before_the_first(void **state)
{
	struct random random = random_seeded(1);
	const struct schedule s = schedule_begin(0, 1000, 0.25, false, &random);

	(void)state;
	assert_int_equal(s.due_ns, 250000);
}

static void test_no_rate_has_everything_due_at_once(void **state)
{
	struct random random = random_seeded(1);
	struct schedule s = schedule_begin(7, 0, 0, false, &random);

	(void)state;
	schedule_next(&s, &random);
	assert_int_equal(s.due_ns, 7);
}

/* Of exponential gaps, the mean is the gap, and 1/e are longer than it. */
static void test_poisson_gaps_are_exponential(void **state)
{
	struct random random = random_seeded(1);
	struct schedule s = schedule_begin(0, 1000, 0, true, &random);
	const uint64_t first_ns = s.due_ns;
	const int gaps = 200000;
	int longer = 0;

	(void)state;
	for (int i = 0; i < gaps; i++) {
		const uint64_t before_ns = s.due_ns;

		schedule_next(&s, &random);
		longer += s.due_ns - before_ns > 1000000;
	}
	assert_true(fabs((double)(s.due_ns - first_ns) / gaps / 1e6 - 1) < 0.01);
	assert_true(fabs((double)longer / gaps - exp(-1)) < 0.01);
}

static void test_many_moments_are_skipped_as_one_by_one(void **state)
{
	static const uint64_t untils_ns[] = {0, 1000, 1001, 5000000, 333333000, 1234567890};
	struct random random = random_seeded(1);
	struct schedule singly = schedule_begin(1000, 30000, 0, false, &random), skipped = singly;

	(void)state;
	for (size_t i = 0; i < sizeof(untils_ns) / sizeof(untils_ns[0]); i++) {
		uint64_t count = 0;

		for (; singly.due_ns < untils_ns[i]; count++)
			schedule_next(&singly, &random);
		assert_int_equal(schedule_skip(&skipped, untils_ns[i], &random), count);
		assert_in_range(skipped.due_ns, singly.due_ns - 1, singly.due_ns + 1);
	}
}

static void test_a_day_of_a_fast_schedule_is_skipped_at_once(void **state)
{
	const uint64_t day_ns = UINT64_C(86400000000000);
	struct random random = random_seeded(1);
	struct schedule s = schedule_begin(0, 1e9, 0, true, &random);
	const double count = (double)schedule_skip(&s, day_ns, &random);

	(void)state;
	assert_true(fabs(count / (double)day_ns - 1) < 0.01);
	assert_in_range(s.due_ns, day_ns, day_ns + 1000);
	/* A few are those that there are. */
	assert_in_range(schedule_skip(&s, s.due_ns + 1, &random), 1, 100);
}

static void test_alarms_come_in_the_order_of_their_time(void **state)
{
	static struct alarm alarms[ALARMS];
	struct timers timers;
	struct alarm *a;
	uint64_t last_ns = 0;
	int left = 0;

	(void)state;
	assert_true(timers_init(&timers, ALARMS));
	srand48(1);
	for (int i = 0; i < ALARMS; i++)
		timers_set(&timers, &alarms[i], (uint64_t)lrand48() % 1000);
	/* Some are moved, and some taken back, twice. */
	for (int i = 0; i < ALARMS; i += 3)
		timers_set(&timers, &alarms[i], (uint64_t)lrand48() % 1000);
	for (int i = 1; i < ALARMS; i += 3) {
		timers_clear(&timers, &alarms[i]);
		timers_clear(&timers, &alarms[i]);
	}
	while ((a = timers_first(&timers))) {
		assert_true(a->at_ns >= last_ns);
		assert_true((a - alarms) % 3 != 1);
		last_ns = a->at_ns;
		timers_clear(&timers, a);
		left++;
	}
	assert_int_equal(left, ALARMS - (ALARMS + 1) / 3);
	timers_destroy(&timers);
}

static void test_each_connection_sends_another_stream(void **state)
{
	struct pattern_position first, second;

	(void)state;
	pattern_init();
	first = pattern_start(0);
	second = pattern_start(1);
	assert_memory_not_equal(pattern_bytes(&first), pattern_bytes(&second), 64);
}

static void test_the_stream_goes_on_over_its_period(void **state)
{
	struct pattern_position whole, place;
	unsigned char *bytes = malloc(PATTERN_CHUNK);
	uint32_t first, done = 0;

	(void)state;
	assert_non_null(bytes);
	pattern_init();
	whole = place = pattern_start(5);
	/* The same bytes, once at a time and once in pieces that do not divide the period. */
	while (done < PATTERN_CHUNK) {
		const uint32_t piece = PATTERN_CHUNK - done < 1000 ? PATTERN_CHUNK - done : 1000;

		memcpy(bytes + done, pattern_bytes(&place), piece);
		pattern_advance(&place, piece);
		done += piece;
	}
	assert_int_equal(place.bytes, PATTERN_CHUNK);
	assert_int_equal(pattern_count_wrong(&whole, bytes, PATTERN_CHUNK, &first), 0);
	free(bytes);
}

static void test_a_wrong_byte_is_found_with_its_place(void **state)
{
	struct pattern_position place;
	unsigned char bytes[1000];
	uint32_t first = 0;

	(void)state;
	pattern_init();
	place = pattern_start(3);
	memcpy(bytes, pattern_bytes(&place), sizeof(bytes));
	bytes[700] ^= 1;
	bytes[900] ^= 128;
	assert_int_equal(pattern_count_wrong(&place, bytes, sizeof(bytes), &first), 2);
	assert_int_equal(first, 700);
}

/* A byte too many or too few makes nearly all that follow differ. */
static void test_a_shift_is_seen(void **state)
{
	struct pattern_position place;
	uint32_t first;

	(void)state;
	pattern_init();
	place = pattern_start(3);
	assert_true(pattern_count_wrong(&place, pattern_bytes(&place) + 1, 1000, &first) > 900);
}

/* All times here are in milliseconds; what is returned, too. */
static uint64_t note(struct held *h, uint64_t from_ms, uint64_t now_ms)
{
	return held_note(h, from_ms * 1000000, now_ms * 1000000) / 1000000;
}

static void test_each_moment_of_being_held_up_counts_once(void **state)
{
	struct held held = {.until_ns = 0};

	(void)state;
	assert_int_equal(note(&held, 100, 101), 0); /* not late */
	assert_int_equal(note(&held, 110, 120), 10);
	assert_int_equal(note(&held, 112, 120), 0); /* another one waited meanwhile */
	assert_int_equal(note(&held, 115, 123), 3);
	assert_int_equal(note(&held, 105, 123), 5); /* and one for longer */
	assert_int_equal(note(&held, 130, 140), 10);
	assert_int_equal(note(&held, 139, 141), 1);
}

static void test_a_millisecond_is_not_late(void **state)
{
	struct held held = {.until_ns = 0};

	(void)state;
	assert_int_equal(held_note(&held, 5000000, 5000000 + LATE_NS), 0);
	assert_int_equal(held_note(&held, 5000000, 5000000 + LATE_NS + 1), LATE_NS + 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_equal_gaps_keep_the_rate_for_a_minute),
		cmocka_unit_test(test_a_share_of_a_gap_goes_before_the_first),
		cmocka_unit_test(test_no_rate_has_everything_due_at_once),
		cmocka_unit_test(test_poisson_gaps_are_exponential),
		cmocka_unit_test(test_many_moments_are_skipped_as_one_by_one),
		cmocka_unit_test(test_a_day_of_a_fast_schedule_is_skipped_at_once),
		cmocka_unit_test(test_alarms_come_in_the_order_of_their_time),
		cmocka_unit_test(test_each_moment_of_being_held_up_counts_once),
		cmocka_unit_test(test_a_millisecond_is_not_late),
		cmocka_unit_test(test_each_connection_sends_another_stream),
		cmocka_unit_test(test_the_stream_goes_on_over_its_period),
		cmocka_unit_test(test_a_wrong_byte_is_found_with_its_place),
		cmocka_unit_test(test_a_shift_is_seen),
	};

	return cmocka_run_group_tests_name("echoload_schedule", tests, NULL, NULL);
}
