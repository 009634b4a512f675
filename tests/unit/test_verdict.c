/*
 * What the admin endpoint says of a server whose parts are made up: the sentence, the probes, and
 * the means of seconds and minutes behind both.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmocka_setup.h"
#include "echopool/base/clock.h"
#include "echopool/control/history.h"
#include "echopool/control/pages.h"
#include "echopool/control/server_state.h"
#include "echopool/control/verdict.h"

#define WORKERS 2
#define NOW_NS  (1000 * NS_PER_S)

/* What the parts answer. */
static struct parts_of_it {
	uint64_t now_ns;
	uint64_t acceptor_turn_ns;
	bool accepts_nobody;
	unsigned int workers;
	struct worker_stats stats[WORKERS], left;
	uint64_t cpu_ns[WORKERS], process_cpu_ns;
	uint64_t connections;
	unsigned int cpus;
	struct queue_figures queue;
	struct history history;
} it;

int __wrap_clock_gettime(clockid_t clock, struct timespec *now);
uint64_t __wrap_acceptor_turn_ns(const struct acceptor *a);
bool __wrap_acceptor_is_broken(const struct acceptor *a);
unsigned int __wrap_pool_workers(const struct pool *p);
const struct worker_stats *__wrap_pool_worker_stats(const struct pool *p, unsigned int index);
const struct worker_stats *__wrap_pool_left_stats(const struct pool *p);
uint64_t __wrap_pool_worker_cpu_ns(const struct pool *p, unsigned int index);
uint64_t __wrap_report_connections(const struct pool *p);
unsigned int __wrap_cpus_usable(void);
struct queue_figures __wrap_queue_figures(struct queue *q);
const struct history *__wrap_admin_history(const struct admin *a);

int __wrap_clock_gettime(clockid_t clock, struct timespec *now)
{
	const uint64_t ns = clock == CLOCK_PROCESS_CPUTIME_ID ? it.process_cpu_ns : it.now_ns;

	now->tv_sec = (time_t)(ns / NS_PER_S);
	now->tv_nsec = (long)(ns % NS_PER_S);
	return 0;
}

uint64_t __wrap_acceptor_turn_ns(const struct acceptor *a)
{
	(void)a;
	return it.acceptor_turn_ns;
}

bool __wrap_acceptor_is_broken(const struct acceptor *a)
{
	(void)a;
	return it.accepts_nobody;
}

unsigned int __wrap_pool_workers(const struct pool *p)
{
	(void)p;
	return it.workers;
}

const struct worker_stats *__wrap_pool_worker_stats(const struct pool *p, unsigned int index)
{
	(void)p;
	return &it.stats[index];
}

const struct worker_stats *__wrap_pool_left_stats(const struct pool *p)
{
	(void)p;
	return &it.left;
}

uint64_t __wrap_pool_worker_cpu_ns(const struct pool *p, unsigned int index)
{
	(void)p;
	return it.cpu_ns[index];
}

uint64_t __wrap_report_connections(const struct pool *p)
{
	(void)p;
	return it.connections;
}

unsigned int __wrap_cpus_usable(void)
{
	return it.cpus;
}

struct queue_figures __wrap_queue_figures(struct queue *q)
{
	(void)q;
	return it.queue;
}

const struct history *__wrap_admin_history(const struct admin *a)
{
	(void)a;
	return &it.history;
}

static struct settings settings;

static struct server well(void)
{
	memset(&it, 0, sizeof(it));
	it.now_ns = NOW_NS;
	it.workers = it.cpus = WORKERS;
	return (struct server){.parts.settings = &settings, .lame_duck_end_ns = UINT64_MAX};
}

/* A second in which the worker 0 used and polled so much, in thousandths. */
static void pass_second(const struct server *v, uint64_t cpu, uint64_t polled)
{
	it.now_ns += NS_PER_S;
	it.cpu_ns[0] += cpu * NS_PER_MS;
	it.process_cpu_ns += cpu * NS_PER_MS;
	stat_add(&it.stats[0].polled_ns, polled * NS_PER_MS);
	history_tick(&it.history, v);
}

static void assert_says(const struct server *v, const char *expected)
{
	char text[VERDICT_BYTES];

	assert_int_equal(verdict(v, text), strcmp(expected, "All is well.") == 0);
	assert_string_equal(text, expected);
}

static void test_the_gravest_is_said(void **state)
{
	struct server v = well();

	(void)state;
	it.connections = 5;
	assert_says(&v, "All is well.");
	stat_add(&it.stats[0].owing, 2);
	assert_says(&v, "All is well."); /* most of them read */
	stat_add(&it.stats[1].owing, 1);
	assert_says(&v, "Clients do not read: 3 of 5 are owed bytes.");
	pass_second(&v, 0, 0);
	pass_second(&v, 1900, 0);
	assert_says(&v, "The CPUs are short: it uses all of them.");
	v.report.last_refused = true;
	assert_says(&v, "The last reload was refused, the settings before it are in effect; see "
			"the log.");
	v.lame_duck_end_ns = it.now_ns;
	assert_says(&v, "It stops soon: /readyz says no for timeouts.lame_duck.");
	it.accepts_nobody = true;
	assert_says(&v, "It cannot accept connections; see the log.");
	v.draining = true;
	assert_says(&v, "Draining: 5 connections are open, nobody new comes.");
}

static void test_a_worker_that_polls_makes_no_cpu_short(void **state)
{
	struct server v = well();

	(void)state;
	pass_second(&v, 0, 0);
	pass_second(&v, 1950, 100);
	assert_says(&v, "All is well.");
	assert_int_equal(it.history.rates[0].cpu, 1850);
}

static void assert_probe(unsigned int (*probe)(FILE *out, const struct page_request *request),
			 const struct server *v, const char *expected)
{
	const struct page_request request = {.server = v};
	char *text = NULL;
	size_t bytes;
	FILE *out = open_memstream(&text, &bytes);

	assert_non_null(out);
	assert_int_equal(probe(out, &request), strcmp(expected, "ok\n") == 0 ? 200 : 503);
	assert_int_equal(fclose(out), 0);
	assert_string_equal(text, expected);
	free(text);
}

static void test_who_hangs_in_a_turn_is_not_alive(void **state)
{
	struct server v = well();

	(void)state;
	/* A turn may take ten seconds; who sleeps, as long as it likes. */
	it.acceptor_turn_ns = NOW_NS - 10 * NS_PER_S;
	stat_add(&it.stats[1].turn_ns, NOW_NS - 10 * NS_PER_S);
	assert_probe(probe_live, &v, "ok\n");
	it.now_ns++;
	assert_probe(probe_live, &v, "The acceptor hangs.\n");
	it.acceptor_turn_ns = 0;
	assert_probe(probe_live, &v, "Worker 1 hangs.\n");
}

static void test_nobody_is_sent_where_it_stops_or_cannot_accept(void **state)
{
	struct server v = well();

	(void)state;
	assert_probe(probe_ready, &v, "ok\n");
	it.queue.saturated.since_ns = NOW_NS - 30 * NS_PER_S;
	assert_probe(probe_ready, &v, "ok\n");
	settings.admin.unready_after_ms = 30 * 1000;
	assert_probe(probe_ready, &v,
		     "The pool is saturated for longer than admin.unready_after.\n");
	settings.admin.unready_after_ms++;
	assert_probe(probe_ready, &v, "ok\n");
	it.accepts_nobody = true;
	assert_probe(probe_ready, &v, "It cannot accept connections.\n");
	v.lame_duck_end_ns = NOW_NS;
	assert_probe(probe_ready, &v, "It stops soon: timeouts.lame_duck runs.\n");
	v.draining = true;
	assert_probe(probe_ready, &v, "It stops: the drain has begun.\n");
}

static void test_a_minute_is_the_mean_of_its_seconds(void **state)
{
	struct server v = well();
	const struct sample *minute;

	(void)state;
	pass_second(&v, 0, 0); /* from then on it counts */
	for (unsigned int second = 0; second < 60; second++) {
		assert_int_equal(history_size(&it.history, true), 0);
		it.connections = second < 30 ? 10 : 20;
		it.queue.waiting = 4;
		pass_second(&v, 500, 0);
	}
	assert_int_equal(history_size(&it.history, false), 60);
	assert_int_equal(history_size(&it.history, true), 1);
	minute = history_at(&it.history, true, 0);
	assert_int_equal(minute->connections, 15);
	assert_int_equal(minute->waiting, 4);
	assert_int_equal(minute->cpu, 500);
}

static void test_a_worker_with_the_number_of_one_that_left_has_no_rate_yet(void **state)
{
	struct server v = well();

	(void)state;
	pass_second(&v, 0, 0);
	pass_second(&v, 300, 0);
	assert_int_equal(it.history.rates[0].cpu, 300);
	it.cpu_ns[0] = 0;
	pass_second(&v, 200, 0);
	assert_int_equal(it.history.rates[0].cpu, 0);
	pass_second(&v, 200, 0);
	assert_int_equal(it.history.rates[0].cpu, 200);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_gravest_is_said),
		cmocka_unit_test(test_a_worker_that_polls_makes_no_cpu_short),
		cmocka_unit_test(test_who_hangs_in_a_turn_is_not_alive),
		cmocka_unit_test(test_nobody_is_sent_where_it_stops_or_cannot_accept),
		cmocka_unit_test(test_a_minute_is_the_mean_of_its_seconds),
		cmocka_unit_test(test_a_worker_with_the_number_of_one_that_left_has_no_rate_yet),
	};

	return cmocka_run_group_tests_name("verdict", tests, NULL, NULL);
}
