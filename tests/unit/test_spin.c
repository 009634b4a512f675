/*
 * When a worker looks again before it sleeps.
 */
#include "cmocka_setup.h"
#include "echopool/pool/spin.h"

/* How many of so many waits look, if those that do end in time or do not. */
static unsigned int looks(struct spin *s, unsigned int waits, bool in_time)
{
	unsigned int count = 0;

	while (waits--)
		if (spin_pays(s, 0)) {
			spin_count(s, in_time);
			count++;
		}
	return count;
}

static void test_one_wait_in_64_finds_out_that_it_pays(void **state)
{
	struct spin s = {0};

	(void)state;
	assert_int_equal(looks(&s, SPIN_PAYS * SPIN_TRIAL, true), SPIN_PAYS);
	assert_int_equal(looks(&s, 1000, true), 1000);
}

static void test_clients_that_pause_cost_one_look_in_64(void **state)
{
	struct spin s = {0};

	(void)state;
	looks(&s, 10000, true);
	/* What it has earned is soon gone. */
	assert_int_equal(looks(&s, SPIN_MOST - SPIN_PAYS + 1, false), SPIN_MOST - SPIN_PAYS + 1);
	assert_int_equal(looks(&s, 100 * SPIN_TRIAL, false), 100);
}

static void test_now_and_then_in_vain_does_not_matter(void **state)
{
	struct spin s = {0};

	(void)state;
	looks(&s, 10000, true);
	for (unsigned int i = 0; i < 100; i++) {
		assert_int_equal(looks(&s, 1, false), 1);
		assert_int_equal(looks(&s, 1, true), 1);
	}
}

static void test_a_thread_that_took_the_cpu_is_left_alone(void **state)
{
	const uint64_t now_ns = NS_PER_S;
	struct spin s = {.credit = SPIN_MOST};

	(void)state;
	spin_taken(&s, SPIN_TAKEN_NS - 1, now_ns);
	assert_true(spin_pays(&s, now_ns));
	spin_taken(&s, 3 * NS_PER_MS, now_ns);
	assert_false(spin_pays(&s, now_ns));
	assert_false(spin_pays(&s, now_ns + SPIN_PAUSE * 3 * NS_PER_MS - 1));
	assert_true(spin_pays(&s, now_ns + SPIN_PAUSE * 3 * NS_PER_MS));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_wait_in_64_finds_out_that_it_pays),
		cmocka_unit_test(test_clients_that_pause_cost_one_look_in_64),
		cmocka_unit_test(test_now_and_then_in_vain_does_not_matter),
		cmocka_unit_test(test_a_thread_that_took_the_cpu_is_left_alone),
	};

	return cmocka_run_group_tests_name("spin", tests, NULL, NULL);
}
