/*
 * Who used the CPUs between two samples, and what was at its limit by that. The samples are made
 * up, but for those of this process.
 */
#include <math.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cmocka_setup.h"
#include "cpu.h"
#include "echopool/base/clock.h"
#include "result.h"

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

static void test_nothing_is_told_of_no_time(void **state)
{
	const struct cpu_sample s = {.server_lives = true, .generator_s = 1, .server_s = 1};
	const struct cpu_use use = cpu_between(&s, &s);

	(void)state;
	assert_about(use.generator + use.machine + use.generator_busiest, 0, 1e-9);
	assert_true(isnan(use.server));
}

/* What a run with two threads was limited by, that used so much and may use four CPUs. */
static const char *limit(double generator, double busiest, double server, double server_busiest,
			 double machine)
{
	const struct options options = {.threads = 2};
	const struct result result = {.options = &options,
				      .cpu = {.generator = generator,
					      .generator_busiest = busiest,
					      .server = server,
					      .server_busiest = server_busiest,
					      .machine = machine,
					      .server_tasks = 3,
					      .server_cpus = 4,
					      .cpus = 4}};

	return result_limited_by(&result);
}

static void test_who_is_at_its_limit(void **state)
{
	(void)state;
	assert_string_equal(limit(1.8, 0.9, 2.8, 0.94, 0.96), "none");
	assert_string_equal(limit(1.9, 0.9, 1, 0.5, 0.9), "generator");
	assert_string_equal(limit(1, 0.95, 1, 0.5, 0.9), "generator");
	assert_string_equal(limit(1, 0.5, 1, 0.95, 0.9), "server");
	assert_string_equal(limit(1, 0.5, 2.85, 0.94, 0.9), "server");
	assert_string_equal(limit(1, 0.95, 2.85, 0.95, 0.97), "machine");
	assert_string_equal(limit(1, 0.5, NAN, 0, 0.5), "none");
}

/* The same where the generator may use one CPU and a server with four threads others. */
static const char *limit_apart(double generator, double server, uint32_t server_cpus)
{
	const struct options options = {.threads = 2};
	const struct result result = {.options = &options,
				      .cpu = {.generator = generator,
					      .server = server,
					      .machine = 1,
					      .server_tasks = 4,
					      .server_cpus = server_cpus,
					      .cpus = 1}};

	return result_limited_by(&result);
}

static void test_a_generator_with_a_cpu_of_its_own_fills_it_itself(void **state)
{
	(void)state;
	assert_string_equal(limit_apart(0.96, 1, 3), "generator");
	assert_string_equal(limit_apart(0.9, 1, 3), "machine");
}

static void test_a_server_has_the_cpus_that_it_may_use(void **state)
{
	struct options options = {.threads = 1};
	struct result result = {
		.options = &options,
		.cpu = {.server = 0.96, .server_tasks = 4, .server_cpus = 3, .cpus = 1}};

	(void)state;
	assert_string_equal(result_limited_by(&result), "none");
	result.cpu.server_cpus = 1;
	assert_string_equal(result_limited_by(&result), "server");
}

static void test_a_run_without_figures_is_limited_by_nobody(void **state)
{
	const struct options options = {.threads = 1};
	const struct result result = {.options = &options, .cpu.server = NAN};

	(void)state;
	assert_string_equal(result_limited_by(&result), "none");
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
		cmocka_unit_test(test_nothing_is_told_of_no_time),
		cmocka_unit_test(test_who_is_at_its_limit),
		cmocka_unit_test(test_a_generator_with_a_cpu_of_its_own_fills_it_itself),
		cmocka_unit_test(test_a_server_has_the_cpus_that_it_may_use),
		cmocka_unit_test(test_a_run_without_figures_is_limited_by_nobody),
		cmocka_unit_test(test_a_process_that_never_rests_uses_what_its_clock_says),
		cmocka_unit_test(test_a_child_that_began_meanwhile_counts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
