/*
 * CPU use between two samples. The samples are made up, but for those of this process.
 */
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cmocka_setup.h"
#include "cpu.h"
#include "echopool/base/clock.h"

#define assert_about(figure, wanted, error) assert_true(fabs((figure) - (wanted)) <= (error))

#define AT_NS(seconds) ((uint64_t)((seconds) * (double)NS_PER_S))

static void test_the_server_s_cpu_is_told_by_its_own_clock(void **state)
{
	const struct cpu_sample before = {
		.at_ns = AT_NS(10.5), .server_at_ns = AT_NS(10), .generator_s = 1, .server_s = 5};
	const struct cpu_sample after = {.at_ns = AT_NS(11.5),
					 .server_at_ns = AT_NS(12),
					 .generator_s = 1.25,
					 .server_s = 7,
					 .server_lives = true};
	const struct cpu_use use = cpu_between(&before, &after);

	(void)state;
	assert_about(use.generator, 0.25, 1e-9);
	assert_about(use.server, 1, 1e-9);
}

static void test_a_thread_s_cpu_is_told_by_its_own_clock(void **state)
{
	struct cpu_thread then[] = {{7, AT_NS(10), 3}, {8, AT_NS(10.3), 3}};
	struct cpu_thread now[] = {{7, AT_NS(11), 3.2}, {8, AT_NS(12.3), 4}};
	const struct cpu_sample before = {.server_at_ns = AT_NS(10), .server = {then, 2}};
	const struct cpu_sample after = {.server_at_ns = AT_NS(11), .server = {now, 2}};

	(void)state;
	assert_about(cpu_between(&before, &after).server_busiest, 0.5, 1e-9);
}

static void test_a_thread_that_began_or_ended_meanwhile_is_not_the_busiest(void **state)
{
	struct cpu_thread then[] = {{7, AT_NS(10), 3}, {8, AT_NS(10), 0}};
	struct cpu_thread now[] = {{8, AT_NS(11), 0.25}, {9, AT_NS(11), 1}};
	const struct cpu_sample before = {.at_ns = AT_NS(10), .generator = {then, 2}};
	const struct cpu_sample after = {.at_ns = AT_NS(11), .generator = {now, 2}};

	(void)state;
	assert_about(cpu_between(&before, &after).generator_busiest, 0.25, 1e-9);
}

static void test_the_cpu_of_a_server_that_ended_is_not_known(void **state)
{
	const struct cpu_sample before = {.server_at_ns = AT_NS(1), .server_s = 5};
	struct cpu_sample after = {.server_at_ns = AT_NS(2), .server_s = 6};

	(void)state;
	assert_true(isnan(cpu_between(&before, &after).server));
	/* Of a child that nobody waited for, what it used is gone. */
	after.server_lives = true;
	after.server_s = 4;
	assert_true(isnan(cpu_between(&before, &after).server));
}

static void test_the_machine_s_share_is_that_of_the_cpus_that_may_be_used(void **state)
{
	const struct cpu_sample before = {.busy_s = 100, .all_s = 1000};
	const struct cpu_sample after = {.busy_s = 103, .all_s = 1004, .cpus = 4};
	const struct cpu_use use = cpu_between(&before, &after);

	(void)state;
	assert_about(use.machine, 0.75, 1e-9);
	assert_int_equal(use.cpus, 4);
}

static void test_of_two_quotas_that_counts_which_was_used_up_more_often(void **state)
{
	const struct cpu_sample before = {.throttling = {100, 50}, .server_throttling = {10, 0}};
	struct cpu_sample after = {.quota = 2,
				   .throttling = {120, 55},
				   .server_quota = 0.5,
				   .server_throttling = {30, 15}};
	struct cpu_use use = cpu_between(&before, &after);

	(void)state;
	assert_about(use.quota, 0.5, 1e-9);
	assert_about(use.throttled, 0.75, 1e-9);
	after.server_throttling = before.server_throttling;
	use = cpu_between(&before, &after);
	assert_about(use.quota, 2, 1e-9);
	assert_about(use.throttled, 0.25, 1e-9);
	after.quota = after.server_quota = 0;
	after.throttling = before.throttling;
	use = cpu_between(&before, &after);
	assert_about(use.quota + use.throttled, 0, 1e-9);
}

static void test_nothing_is_told_of_no_time(void **state)
{
	const struct cpu_sample s = {.server_lives = true, .generator_s = 1, .server_s = 1};
	const struct cpu_use use = cpu_between(&s, &s);

	(void)state;
	assert_about(use.generator + use.machine + use.generator_busiest, 0, 1e-9);
	assert_true(isnan(use.server));
}

/* What /proc/stat says of 4 CPUs, in ticks: CPU 2 is busy all the time, the others half of it. */
static const char stat_text[] = "cpu  120 30 40 150 50 5 3 2 99 99\n"
				"cpu0 20 10 10 40 10 5 3 2 99 99\n"
				"cpu1 30 10 10 40 10 0 0 0 99 99\n"
				"cpu2 40 50 10 0 0 0 0 0 99 99\n"
				"cpu7 30 10 10 40 10 0 0 0 99 99\n"
				"intr 12345 0 0\n"
				"cpu9 1 1 1 1 1 1 1 1 1 1\n";

/* A sample of that, for a process that may use so many CPUs, among them those of a mask. */
static struct cpu_sample stat_of(const char *text, uint32_t cpus, unsigned int mask)
{
	FILE *file = fmemopen((void *)(uintptr_t)text, strlen(text), "r");
	struct cpu_sample s = {.cpus = cpus};
	cpu_set_t may_use;

	assert_non_null(file);
	CPU_ZERO(&may_use);
	for (size_t cpu = 0; cpu < 32; cpu++)
		if (mask & 1U << cpu)
			CPU_SET(cpu, &may_use);
	cpu_read_stat(&s, file, &may_use);
	fclose(file);
	return s;
}

static void assert_ticks(struct cpu_sample s, unsigned int busy, unsigned int all)
{
	const double tick_s = 1 / (double)sysconf(_SC_CLK_TCK);

	assert_about(s.busy_s, busy * tick_s, 1e-9);
	assert_about(s.all_s, all * tick_s, 1e-9);
}

static void test_only_the_cpus_that_may_be_used_are_the_machine(void **state)
{
	(void)state;
	assert_ticks(stat_of(stat_text, 1, 1U << 0), 50, 100);
	assert_ticks(stat_of(stat_text, 1, 1U << 2), 100, 100);
	assert_ticks(stat_of(stat_text, 2, 1U << 2 | 1U << 7), 150, 200);
}

static void test_cpus_of_other_numbers_are_all_that_there_are(void **state)
{
	(void)state;
	assert_ticks(stat_of(stat_text, 1, 1U << 5), 200, 400);
	assert_ticks(stat_of(stat_text, 2, 1U << 2 | 1U << 5), 200, 400);
	assert_ticks(stat_of("cpu what\n", 1, 1U << 0), 0, 0);
}

/* What this process uses meanwhile, as its own "server", is all counted, and by either figure. */
static void test_a_process_that_never_rests_uses_what_its_clock_says(void **state)
{
	struct family family = {.server = getpid()};
	struct cpu_sample before, after;
	struct cpu_use use;
	clock_t end;

	(void)state;
	family_update(&family);
	before = cpu_sample_begin(&family);
	end = clock() + CLOCKS_PER_SEC / 5;
	while (clock() < end)
		;
	after = cpu_sample_end(&family);
	use = cpu_between(&before, &after);
	assert_true(after.server_lives);
	assert_about(after.generator_s - before.generator_s, 0.2, 0.1);
	assert_in_range((uintmax_t)(1000 * (after.server_s - before.server_s)), 200, 300);
	/* Its only thread, or the oldest; a thread's time is as old as the last tick. */
	assert_int_equal(after.generator.list[0].id, getpid());
	assert_about(after.generator.list[0].used_s - before.generator.list[0].used_s, 0.2, 0.1);
	assert_true(use.generator_busiest > 0);
	cpu_sample_free(&before);
	cpu_sample_free(&after);
	family_free(&family);
}

/* Between the two readings of the generator nothing else is read. */
static void test_what_a_sample_costs_is_nobody_s(void **state)
{
	struct family family = {.server = getpid()};
	struct cpu_sample before, after;

	(void)state;
	before = cpu_sample_begin(&family);
	after = cpu_sample_end(&family);
	assert_in_range(before.server_at_ns, 1, before.at_ns);
	assert_in_range(after.at_ns, before.at_ns, after.server_at_ns);
	assert_true(before.generator.count && before.server.count);
	assert_true(after.generator.count && after.server.count);
	assert_in_range(before.generator.list[0].at_ns, 1, before.at_ns);
	assert_in_range(before.server.list[0].at_ns, 1, before.at_ns);
	assert_in_range(after.generator.list[0].at_ns, after.at_ns, UINT64_MAX);
	assert_in_range(after.server.list[0].at_ns, after.at_ns, UINT64_MAX);
	cpu_sample_free(&before);
	cpu_sample_free(&after);
	family_free(&family);
}

static void burn_in_a_child(int ready_fd)
{
	const clock_t end = clock() + CLOCKS_PER_SEC / 10;

	while (clock() < end)
		;
	if (write(ready_fd, "", 1) == 1)
		pause();
	_exit(0);
}

static void test_a_child_that_began_meanwhile_counts(void **state)
{
	struct family family = {.server = getpid()};
	struct cpu_sample before, after;
	int ready[2];
	pid_t child;
	char byte;

	(void)state;
	assert_int_equal(pipe(ready), 0);
	before = cpu_sample_begin(&family);
	child = fork();
	assert_int_not_equal(child, -1);
	if (child == 0)
		burn_in_a_child(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	after = cpu_sample_end(&family);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	/* A sanitizer may have a thread of its own. */
	assert_true(after.server_tasks > before.server_tasks);
	assert_in_range((uintmax_t)(1000 * (after.server_s - before.server_s)), 100, 200);
	cpu_sample_free(&before);
	cpu_sample_free(&after);
	family_free(&family);
	close(ready[0]);
	close(ready[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_server_s_cpu_is_told_by_its_own_clock),
		cmocka_unit_test(test_a_thread_s_cpu_is_told_by_its_own_clock),
		cmocka_unit_test(test_a_thread_that_began_or_ended_meanwhile_is_not_the_busiest),
		cmocka_unit_test(test_the_cpu_of_a_server_that_ended_is_not_known),
		cmocka_unit_test(test_the_machine_s_share_is_that_of_the_cpus_that_may_be_used),
		cmocka_unit_test(test_of_two_quotas_that_counts_which_was_used_up_more_often),
		cmocka_unit_test(test_nothing_is_told_of_no_time),
		cmocka_unit_test(test_only_the_cpus_that_may_be_used_are_the_machine),
		cmocka_unit_test(test_cpus_of_other_numbers_are_all_that_there_are),
		cmocka_unit_test(test_what_a_sample_costs_is_nobody_s),
		cmocka_unit_test(test_a_process_that_never_rests_uses_what_its_clock_says),
		cmocka_unit_test(test_a_child_that_began_meanwhile_counts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
