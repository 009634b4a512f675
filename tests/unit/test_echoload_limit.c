/*
 * What a run was limited by: every verdict and every edge, from figures that are made up.
 */
#include <math.h>

#include "cmocka_setup.h"
#include "limit.h"

struct limit_case {
	const char *what;
	uint32_t threads; /* of the generator */
	uint32_t cpus;
	double generator;
	double generator_busiest;
	uint32_t server_tasks;
	uint32_t server_cpus;
	double server;
	double server_busiest;
	double machine;
	enum limit wanted;
};

/* Mostly a generator of 2 threads and a server of 3 that may use the same 4 CPUs. */
static const struct limit_case cases[] = {
	{"all at ease", 2, 4, 1, 0.5, 3, 4, 1, 0.5, 0.5, LIMIT_NONE},
	{"all just below", 2, 4, 1.89, 0.949, 3, 4, 2.84, 0.949, 0.969, LIMIT_NONE},

	/* The generator: one thread of it, or all. */
	{"a thread of the generator", 2, 4, 1, 0.95, 3, 4, 1, 0.5, 0.5, LIMIT_GENERATOR},
	{"all threads of it", 2, 4, 1.9, 0.5, 3, 4, 1, 0.5, 0.5, LIMIT_GENERATOR},
	{"as much by more threads", 3, 4, 1.9, 0.5, 3, 4, 1, 0.5, 0.5, LIMIT_NONE},
	{"more threads than CPUs", 100, 4, 3.8, 0.5, 3, 4, 1, 0.5, 0.5, LIMIT_GENERATOR},
	{"more threads than CPUs, nearly", 100, 4, 3.79, 0.5, 3, 4, 1, 0.5, 0.5, LIMIT_NONE},

	/* The server: the same. */
	{"a thread of the server", 2, 4, 1, 0.5, 3, 4, 1, 0.95, 0.5, LIMIT_SERVER},
	{"all threads of it", 2, 4, 1, 0.5, 3, 4, 2.85, 0.5, 0.5, LIMIT_SERVER},
	{"as much by more threads", 2, 4, 1, 0.5, 4, 4, 2.85, 0.5, 0.5, LIMIT_NONE},
	{"more threads than CPUs", 2, 4, 1, 0.5, 100, 4, 3.8, 0.5, 0.5, LIMIT_SERVER},
	{"pinned to one CPU", 2, 4, 1, 0.5, 3, 1, 0.95, 0.5, 0.5, LIMIT_SERVER},
	{"pinned, nearly", 2, 4, 1, 0.5, 3, 1, 0.94, 0.5, 0.5, LIMIT_NONE},

	/* A server of which nothing, or not all, is known. */
	{"no server", 2, 4, 1, 0.5, 0, 0, NAN, 0, 0.5, LIMIT_NONE},
	{"no server, all the machine", 2, 4, 1, 0.5, 0, 0, NAN, 0, 1, LIMIT_MACHINE},
	{"a child that is gone", 2, 4, 1, 0.5, 3, 4, NAN, 0.5, 0.5, LIMIT_NONE},
	{"the rest of such a one", 2, 4, 1, 0.5, 3, 4, NAN, 1, 0.5, LIMIT_SERVER},
	{"no tasks", 2, 4, 1, 0.5, 0, 4, 0, 0.5, 0.5, LIMIT_NONE},

	/* Both. */
	{"both: first the generator", 2, 4, 1, 1, 3, 4, 1, 1, 0.5, LIMIT_GENERATOR},

	/* The machine: others keep it busy, or all of these together. */
	{"others use all CPUs", 2, 4, 1, 0.5, 3, 4, 1, 0.5, 0.97, LIMIT_MACHINE},
	{"generator and server do", 2, 4, 1.9, 0.95, 3, 4, 2, 0.95, 1, LIMIT_MACHINE},
	{"the generator has most of them", 4, 4, 3.79, 0.5, 3, 4, 1, 0.5, 1, LIMIT_MACHINE},
	{"the generator has all of them", 4, 4, 3.8, 0.5, 3, 4, 1, 0.5, 1, LIMIT_GENERATOR},

	/* One CPU, for all or for the generator alone. */
	{"one CPU at ease", 1, 1, 0.5, 0.5, 3, 4, 1, 0.5, 0.96, LIMIT_NONE},
	{"one CPU for all", 1, 1, 0.5, 0.5, 3, 1, 0.5, 0.5, 1, LIMIT_MACHINE},
	{"others on the one CPU", 1, 1, 0.01, 0.01, 3, 1, 0.01, 0.01, 1, LIMIT_MACHINE},
	{"one of its own, full", 2, 1, 0.95, 0.5, 3, 4, 1, 0.5, 1, LIMIT_GENERATOR},
	{"one of its own, full of others", 2, 1, 0.94, 0.5, 3, 4, 1, 0.5, 1, LIMIT_MACHINE},
	{"the server elsewhere", 1, 1, 0.5, 0.5, 3, 3, 2.85, 0.5, 0.5, LIMIT_SERVER},

	/* A run that ended before it was measured. */
	{"no figures", 2, 0, 0, 0, 0, 0, NAN, 0, 0, LIMIT_NONE},
	{"no figures but the CPUs", 2, 4, 0, 0, 0, 0, NAN, 0, 0, LIMIT_NONE},
	{"no share of the machine", 2, 4, 1, 0.5, 3, 4, 1, 0.5, NAN, LIMIT_NONE},
};

static void test_who_is_at_its_limit(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct limit_case *c = &cases[i];
		const struct cpu_use use = {.generator = c->generator,
					    .server = c->server,
					    .machine = c->machine,
					    .generator_busiest = c->generator_busiest,
					    .server_busiest = c->server_busiest,
					    .server_tasks = c->server_tasks,
					    .server_cpus = c->server_cpus,
					    .cpus = c->cpus};
		const enum limit found = limit_of(&use, c->threads);

		if (found != c->wanted)
			fail_msg("%s: %s instead of %s", c->what, limit_name(found),
				 limit_name(c->wanted));
	}
}

static void test_a_quota_that_is_used_up_comes_first(void **state)
{
	struct cpu_use use = {.machine = 1, .cpus = 4, .quota = 0.5, .throttled = 0.25};

	(void)state;
	assert_int_equal(limit_of(&use, 1), LIMIT_QUOTA);
	use.throttled = 0.24;
	assert_int_equal(limit_of(&use, 1), LIMIT_MACHINE);
}

/* Five percent and 50 microseconds. */
static void test_what_changes_a_figure_is_more_than_the_stated_error(void **state)
{
	(void)state;
	assert_false(limit_is_changed(100e3, 100e3));
	assert_false(limit_is_changed(155e3, 100e3));
	assert_true(limit_is_changed(155.1e3, 100e3));
	assert_false(limit_is_changed(10.55e6, 10e6));
	assert_true(limit_is_changed(10.6e6, 10e6));
	assert_true(limit_is_changed(300e3, 0));
}

static void test_each_has_a_name(void **state)
{
	(void)state;
	assert_string_equal(limit_name(LIMIT_NONE), "none");
	assert_string_equal(limit_name(LIMIT_QUOTA), "quota");
	assert_string_equal(limit_name(LIMIT_GENERATOR), "generator");
	assert_string_equal(limit_name(LIMIT_SERVER), "server");
	assert_string_equal(limit_name(LIMIT_MACHINE), "machine");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_who_is_at_its_limit),
		cmocka_unit_test(test_a_quota_that_is_used_up_comes_first),
		cmocka_unit_test(test_what_changes_a_figure_is_more_than_the_stated_error),
		cmocka_unit_test(test_each_has_a_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
