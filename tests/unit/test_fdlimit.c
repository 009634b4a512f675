/*
 * The division of the descriptor limit.
 */
#include <unistd.h>

#include "cmocka_setup.h"
#include "echopool/base/fdlimit.h"

static const struct fd_demand usual = {
	.open = 3, .listeners = 2, .workers = 4, .worker_connections = 4096, .queue_limit = 1024};

/* All that a share may ever open, beside what the process needs for itself. */
static uint64_t total(const struct fd_demand *demand, const struct fd_share *share)
{
	return share->queue_limit + (uint64_t)demand->workers * share->worker_connections;
}

static void test_gives_what_was_asked_when_it_fits(void **state)
{
	struct fd_share share;

	(void)state;
	assert_true(fdlimit_divide(1048576, &usual, &share));
	assert_int_equal(share.worker_connections, 4096);
	assert_int_equal(share.queue_limit, 1024);
}

static void test_gives_the_queue_a_quarter_at_most(void **state)
{
	struct fd_share share;

	(void)state;
	assert_true(fdlimit_divide(1000, &usual, &share));
	assert_in_range(share.queue_limit, 1, 250);
	assert_in_range(share.worker_connections, 170, 185);
}

static void test_gives_workers_what_the_queue_does_not_want(void **state)
{
	const struct fd_demand demand = {
		.listeners = 2, .workers = 4, .worker_connections = 4096, .queue_limit = 10};
	struct fd_share share;

	(void)state;
	assert_true(fdlimit_divide(1000, &demand, &share));
	assert_int_equal(share.queue_limit, 10);
	assert_in_range(share.worker_connections, 230, 245);
}

static void test_always_leaves_the_reserve(void **state)
{
	(void)state;
	for (unsigned int workers = 1; workers <= 64; workers *= 2) {
		const struct fd_demand demand = {.open = workers,
						 .listeners = 1,
						 .workers = workers,
						 .worker_connections = 1000000,
						 .queue_limit = 1000000};

		for (uint64_t limit = 8; limit < 3000; limit++) {
			struct fd_share share;

			if (!fdlimit_divide(limit, &demand, &share)) {
				assert_in_range(limit, 0, fdlimit_least(&demand) - 1);
				continue;
			}
			assert_true(share.worker_connections >= 1);
			assert_true(share.queue_limit >= 1);
			assert_true(total(&demand, &share) + 5UL * workers + 18 <= limit);
		}
	}
}

static void test_refuses_a_limit_that_is_too_low(void **state)
{
	struct fd_share share;

	(void)state;
	assert_false(fdlimit_divide(12, &usual, &share));
	assert_false(fdlimit_divide(fdlimit_least(&usual) - 1, &usual, &share));
	assert_true(fdlimit_divide(fdlimit_least(&usual), &usual, &share));
	assert_int_equal(share.worker_connections, 1);
	assert_int_equal(share.queue_limit, 1);
}

static void test_counts_what_is_open(void **state)
{
	const unsigned int before = fdlimit_count_open();
	int fd = dup(0);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(fdlimit_count_open(), before + 1);
	close(fd);
	assert_int_equal(fdlimit_count_open(), before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_gives_what_was_asked_when_it_fits),
		cmocka_unit_test(test_gives_the_queue_a_quarter_at_most),
		cmocka_unit_test(test_gives_workers_what_the_queue_does_not_want),
		cmocka_unit_test(test_always_leaves_the_reserve),
		cmocka_unit_test(test_refuses_a_limit_that_is_too_low),
		cmocka_unit_test(test_counts_what_is_open),
	};

	return cmocka_run_group_tests_name("fdlimit", tests, NULL, NULL);
}
