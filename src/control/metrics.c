/*
 * /metrics: every figure for Prometheus, in its text format 0.0.4 or in OpenMetrics 1.0
 * (https://prometheus.io/docs/specs/om/open_metrics_spec/). Main thread.
 *
 * Totals of the pool are families of their own: a sum over workers would fall when one leaves.
 * Clients are never labels, so that their number bounds nothing here.
 */
#include <inttypes.h>
#include <sys/resource.h>
#include <unistd.h>

#include "echopool/base/clock.h"
#include "echopool/base/log.h"
#include "echopool/control/admin_http.h"
#include "echopool/control/pages.h"
#include "echopool/control/server_state.h"
#include "echopool/net/listener.h"

#ifdef HAVE_LIBSYSTEMD
#define FEATURES "admin,systemd"
#else
#define FEATURES "admin"
#endif

/* The upper bounds of the waits: 16 us x 4^k. */
#define WAIT_LEAST_US 16
#define WAIT_BOUNDS   12

enum kind { COUNTER, GAUGE };

struct metrics {
	FILE *out;
	bool open; /* OpenMetrics names the family of a counter without _total */
	const struct server *server;
};

/* Begins a family. name has its prefix; a counter's is without _total. */
static void family(struct metrics *m, enum kind kind, const char *name, const char *help)
{
	const char *total = kind == COUNTER && !m->open ? "_total" : "";

	fprintf(m->out, "# HELP %s%s %s\n# TYPE %s%s %s\n", name, total, help, name, total,
		kind == COUNTER ? "counter" : "gauge");
}

static void whole(struct metrics *m, enum kind kind, const char *name, const char *help,
		  uint64_t value)
{
	family(m, kind, name, help);
	fprintf(m->out, "%s%s %" PRIu64 "\n", name, kind == COUNTER ? "_total" : "", value);
}

static void seconds(struct metrics *m, enum kind kind, const char *name, const char *help,
		    double value)
{
	family(m, kind, name, help);
	fprintf(m->out, "%s%s %.6f\n", name, kind == COUNTER ? "_total" : "", value);
}

static double as_seconds(uint64_t ns)
{
	return (double)ns / (double)NS_PER_S;
}

/* A moment of the monotonic clock as seconds of the wall clock. */
static double wall_s(uint64_t at_ns)
{
	struct timespec wall;

	clock_gettime(CLOCK_REALTIME, &wall); /* it cannot fail, as clock_now_ns() */
	return (double)wall.tv_sec + (double)wall.tv_nsec / 1e9 -
	       as_seconds(clock_now_ns() - at_ns);
}

static void write_closed(struct metrics *m, const struct worker_stats *all)
{
	static const char name[] = "echopool_connections_closed";

	family(m, COUNTER, name, "Connections that ended at a worker, by reason.");
	for (unsigned int end = 0; end < CONN_END_COUNT; end++)
		fprintf(m->out, "%s_total{reason=\"%s\"} %" PRIu64 "\n", name, conn_end_name(end),
			stat_get(&all->ended[end]));
}

static void write_refused(struct metrics *m, const struct acceptor_figures *f)
{
	static const char name[] = "echopool_connections_refused";
	const struct {
		const char *reason;
		uint64_t count;
	} reasons[] = {{"denied", f->denied},         {"too_many", f->too_many},
		       {"no_memory", f->no_memory},   {"queue_full", f->rejected},
		       {"queue_timeout", f->expired}, {"crowded", f->crowded}};

	family(m, COUNTER, name, "Connections closed before a worker had them, by reason.");
	for (unsigned int i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
		fprintf(m->out, "%s_total{reason=\"%s\"} %" PRIu64 "\n", name, reasons[i].reason,
			reasons[i].count);
}

static void write_pool(struct metrics *m, const struct worker_stats *all)
{
	const struct parts *p = &m->server->parts;
	const struct acceptor_figures f = acceptor_figures(p->acceptor);

	family(m, GAUGE, "echopool_build_info", "What runs; always 1.");
	fprintf(m->out,
		"echopool_build_info{version=\"%s\",engine=\"%s\",features=\"" FEATURES "\"} 1\n",
		ECHOPOOL_VERSION, p->uses_uring ? "io_uring" : "epoll");
	whole(m, GAUGE, "echopool_ready", "Whether /readyz says yes.", probe_is_ready(m->server));
	whole(m, GAUGE, "echopool_draining", "Whether the drain has begun.", m->server->draining);
	whole(m, GAUGE, "echopool_workers", "Threads that serve.", pool_workers(p->pool));
	whole(m, COUNTER, "echopool_workers_left", "Workers that a smaller pool has let go.",
	      pool_left(p->pool));
	whole(m, GAUGE, "echopool_worker_connections_limit",
	      "Connections that each worker may hold.", p->share.worker_connections);
	whole(m, GAUGE, "echopool_connections", "Connections that workers hold.",
	      report_connections(p->pool));
	whole(m, COUNTER, "echopool_connections_accepted", "Connections put on the queue.",
	      queue_figures(p->queue).pushed);
	write_closed(m, all);
	write_refused(m, &f);
	family(m, COUNTER, "echopool_accept_errors", "Calls of accept that failed, by errno.");
	for (unsigned int i = 0; i < ACCEPT_ERRORS; i++)
		fprintf(m->out, "echopool_accept_errors_total{errno=\"%s\"} %" PRIu64 "\n",
			accept_error_name(i), f.failed_by[i]);
	whole(m, COUNTER, "echopool_log_lines_lost", "Log lines that could not be written.",
	      log_lines_lost());
	whole(m, COUNTER, "echopool_rebalanced_connections",
	      "Connections that a worker gave to one with less work.", stat_get(&all->rebalanced));
	whole(m, COUNTER, "echopool_received_bytes", "Bytes that clients sent.",
	      stat_get(&all->received_bytes));
	whole(m, COUNTER, "echopool_sent_bytes", "Bytes sent back.", stat_get(&all->sent_bytes));
}

static void write_waits(struct metrics *m)
{
	static const char name[] = "echopool_queue_wait_seconds";
	const struct parts *p = &m->server->parts;
	struct wait_totals waits;
	uint64_t bound_us = WAIT_LEAST_US;

	pool_sum_waits(p->pool, &waits);
	acceptor_sum_waits(p->acceptor, &waits);
	fprintf(m->out,
		"# HELP %s From accept to a worker, or to the end of timeouts.queue.\n"
		"# TYPE %s histogram\n",
		name, name);
	for (int k = 0; k < WAIT_BOUNDS; k++, bound_us *= 4)
		fprintf(m->out, "%s_bucket{le=\"%.9g\"} %" PRIu64 "\n", name,
			(double)bound_us / 1e6, wait_totals_below(&waits, bound_us));
	fprintf(m->out, "%s_bucket{le=\"+Inf\"} %" PRIu64 "\n%s_sum %.6f\n%s_count %" PRIu64 "\n",
		name, wait_totals_count(&waits), name, (double)stat_get(&waits.sum_us) / 1e6, name,
		wait_totals_count(&waits));
}

static void write_queue(struct metrics *m)
{
	const struct queue_figures q = queue_figures(m->server->parts.queue);
	const uint64_t now_ns = clock_now_ns();

	whole(m, GAUGE, "echopool_queue_length", "Connections that wait for a worker.", q.waiting);
	whole(m, GAUGE, "echopool_queue_limit", "How many may wait.", q.limit);
	seconds(m, GAUGE, "echopool_queue_oldest_wait_seconds",
		"How long the one has waited that waits longest.",
		q.oldest_ns && q.oldest_ns < now_ns ? as_seconds(now_ns - q.oldest_ns) : 0);
	write_waits(m);
	seconds(m, COUNTER, "echopool_pool_saturated_seconds",
		"How long some waited and no worker had room.",
		as_seconds(spell_total_ns(&q.saturated, now_ns)));
	whole(m, COUNTER, "echopool_pool_saturations", "How often that began.", q.saturated.count);
	seconds(m, GAUGE, "echopool_pool_saturated_since_timestamp_seconds",
		"Since when it is so; 0 while it is not.",
		q.saturated.since_ns ? wall_s(q.saturated.since_ns) : 0);
	seconds(m, COUNTER, "echopool_queue_full_seconds", "How long the queue was full.",
		as_seconds(spell_total_ns(&q.full, now_ns)));
}

/* One figure of each listener. */
static void write_listeners(struct metrics *m)
{
	const struct listeners *l = &m->server->parts.listeners;
	struct listener_backlog backlogs[LISTENERS_MAX];
	char text[ADDRESS_TEXT_BYTES];

	for (unsigned int i = 0; i < l->count; i++)
		backlogs[i] = listener_backlog(l->items[i].fd);
	family(m, GAUGE, "echopool_listener_backlog", "Connections that the kernel holds.");
	for (unsigned int i = 0; i < l->count; i++)
		fprintf(m->out, "echopool_listener_backlog{listener=\"%s\"} %" PRIu32 "\n",
			address_format(&l->items[i].address, text), backlogs[i].length);
	family(m, GAUGE, "echopool_listener_backlog_limit", "How many it may hold.");
	for (unsigned int i = 0; i < l->count; i++)
		fprintf(m->out, "echopool_listener_backlog_limit{listener=\"%s\"} %" PRIu32 "\n",
			address_format(&l->items[i].address, text), backlogs[i].limit);
	family(m, COUNTER, "echopool_listener_dropped", "Newcomers that the kernel dropped.");
	for (unsigned int i = 0; i < l->count; i++)
		fprintf(m->out, "echopool_listener_dropped_total{listener=\"%s\"} %" PRIu32 "\n",
			address_format(&l->items[i].address, text), backlogs[i].dropped);
}

/* A figure of each worker: what a function answers, or else a counter in its stats. */
static const struct worker_figure {
	enum kind kind;
	bool is_time; /* in nanoseconds, told in seconds */
	const char *name, *help;
	uint64_t (*find)(const struct pool *pool, unsigned int index);
	size_t offset;
} worker_figures[] = {
	{GAUGE, false, "echopool_worker_connections", "Connections that it holds.",
	 report_worker_connections, 0},
	{GAUGE, false, "echopool_worker_owing_connections",
	 "Those of them that do not read what is sent back.", NULL,
	 offsetof(struct worker_stats, owing)},
	{COUNTER, true, "echopool_worker_cpu_seconds", "CPU time that its thread used.",
	 pool_worker_cpu_ns, 0},
	{COUNTER, true, "echopool_worker_polled_seconds",
	 "CPU time of them in which it looked again before it slept; see pool.spin_us.", NULL,
	 offsetof(struct worker_stats, polled_ns)},
	{COUNTER, true, "echopool_worker_runqueue_seconds",
	 "How long it was ready to run and no CPU was free.", pool_worker_runqueue_ns, 0},
	{COUNTER, false, "echopool_worker_wakeups", "Times that it woke.", NULL,
	 offsetof(struct worker_stats, wakeups)},
	{COUNTER, false, "echopool_worker_events", "Connections that were ready.", NULL,
	 offsetof(struct worker_stats, events)},
	{COUNTER, false, "echopool_worker_full_batches",
	 "Times that it woke for as many as one turn may have.", NULL,
	 offsetof(struct worker_stats, full_batches)},
	{COUNTER, false, "echopool_worker_sent_bytes", "Bytes sent back.", NULL,
	 offsetof(struct worker_stats, sent_bytes)},
	{COUNTER, false, "echopool_worker_taken", "Connections taken from the queue.", NULL,
	 offsetof(struct worker_stats, taken)},
};

static uint64_t find_figure(const struct worker_figure *f, const struct pool *pool,
			    unsigned int index)
{
	const char *stats = (const char *)pool_worker_stats(pool, index);

	return f->find ? f->find(pool, index)
		       : stat_get((const _Atomic uint64_t *)(stats + f->offset));
}

static void write_worker_figure(struct metrics *m, const struct worker_figure *f)
{
	const struct pool *pool = m->server->parts.pool;

	family(m, f->kind, f->name, f->help);
	for (unsigned int i = 0; i < pool_workers(pool); i++) {
		const uint64_t value = find_figure(f, pool, i);

		fprintf(m->out, "%s%s{worker=\"%u\"} ", f->name, f->kind == COUNTER ? "_total" : "",
			i);
		if (f->is_time)
			fprintf(m->out, "%.6f\n", as_seconds(value));
		else
			fprintf(m->out, "%" PRIu64 "\n", value);
	}
}

static void write_workers(struct metrics *m)
{
	pool_read_runqueues(m->server->parts.pool);
	for (size_t i = 0; i < sizeof(worker_figures) / sizeof(worker_figures[0]); i++)
		write_worker_figure(m, &worker_figures[i]);
}

static void write_requests(struct metrics *m, const struct admin_http *http)
{
	static const char name[] = "echopool_admin_requests";
	struct admin_count count;

	family(m, COUNTER, name, "Requests to this endpoint, by path and status.");
	for (unsigned int i = 0; admin_http_count(http, i, &count); i++)
		if (count.requests)
			fprintf(m->out, "%s_total{path=\"%s\",code=\"%u\"} %" PRIu64 "\n", name,
				count.path, count.status, count.requests);
}

static void write_configuration(struct metrics *m)
{
	const struct report *r = &m->server->report;

	whole(m, GAUGE, "echopool_config_last_reload_successful",
	      "Whether the settings of the file are in effect.", !r->last_refused);
	seconds(m, GAUGE, "echopool_config_last_reload_success_timestamp_seconds",
		"When the settings took effect.", (double)r->loaded_s);
	family(m, COUNTER, "echopool_config_reloads", "Reloads, by result.");
	fprintf(m->out,
		"echopool_config_reloads_total{result=\"applied\"} %" PRIu64 "\n"
		"echopool_config_reloads_total{result=\"refused\"} %" PRIu64 "\n",
		r->reloads, r->refused_reloads);
}

static uint64_t resident_bytes(void)
{
	unsigned long pages_all = 0, resident = 0;
	FILE *file = fopen("/proc/self/statm", "re");

	if (!file)
		return 0;
	if (fscanf(file, "%lu %lu", &pages_all, &resident) != 2)
		resident = 0;
	fclose(file); /* it was only read */
	return (uint64_t)resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* The standard names; open descriptors are added up from what is known: /proc has too many. */
static void write_process(struct metrics *m)
{
	const struct parts *p = &m->server->parts;
	struct rusage used;
	struct rlimit limit = {0};

	getrusage(RUSAGE_SELF, &used); /* it cannot fail: who and the pointer are valid */
	getrlimit(RLIMIT_NOFILE, &limit);
	seconds(m, GAUGE, "process_start_time_seconds", "When the server started.",
		(double)m->server->report.started_s);
	seconds(m, COUNTER, "process_cpu_seconds", "CPU time of all threads.",
		(double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
			(double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6);
	whole(m, GAUGE, "process_resident_memory_bytes", "Memory in use.", resident_bytes());
	whole(m, GAUGE, "process_max_fds", "Descriptors that it may have.", limit.rlim_cur);
	whole(m, GAUGE, "process_open_fds", "Descriptors that are accounted for.",
	      p->open_before + p->listeners.count + p->admin_listeners.count +
		      2 * (uint64_t)pool_workers(p->pool) + report_connections(p->pool) +
		      queue_figures(p->queue).waiting);
}

/* What all workers have counted, those that left too. */
static void sum_workers(const struct pool *pool, struct worker_stats *all)
{
	*all = (struct worker_stats){0};
	stats_sum(pool_left_stats(pool), all);
	for (unsigned int i = 0; i < pool_workers(pool); i++)
		stats_sum(pool_worker_stats(pool, i), all);
}

unsigned int metrics_write(FILE *out, const struct page_request *request)
{
	struct metrics m = {.out = out, .open = request->open_metrics, .server = request->server};
	static struct worker_stats all; /* aligned as no sanitizer's stack is */

	sum_workers(m.server->parts.pool, &all);
	write_pool(&m, &all);
	write_queue(&m);
	write_listeners(&m);
	if (request->workers)
		write_workers(&m);
	write_requests(&m, request->http);
	write_configuration(&m);
	write_process(&m);
	if (m.open)
		fputs("# EOF\n", out);
	return 200;
}
