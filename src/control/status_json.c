/*
 * /status.json: the figures of the status page for programs. Main thread.
 */
#include <inttypes.h>

#include "echopool/base/clock.h"
#include "echopool/control/admin.h"
#include "echopool/control/history.h"
#include "echopool/control/pages.h"
#include "echopool/control/server_state.h"
#include "echopool/control/status_holders.h"
#include "echopool/control/verdict.h"
#include "echopool/net/listener.h"

/* Of what is here; it grows when a name or its meaning changes. */
#define SCHEMA 1

void put_json_string(FILE *out, const char *text)
{
	fputc('"', out);
	for (; *text; text++)
		if (*text == '"' || *text == '\\' || (unsigned char)*text < ' ')
			fprintf(out, "\\u%04x", (unsigned char)*text);
		else
			fputc(*text, out);
	fputc('"', out);
}

static void write_pool(FILE *out, const struct server *v)
{
	const struct parts *p = &v->parts;
	char text[VERDICT_BYTES];
	const bool well = verdict(v, text);

	fprintf(out, "{\"schema\": %d, \"version\": \"%s\", \"pool\": {\"verdict\": ", SCHEMA,
		ECHOPOOL_VERSION);
	put_json_string(out, text);
	fprintf(out,
		", \"well\": %s, \"ready\": %s, \"draining\": %s, \"workers\": %u, "
		"\"worker_connections_limit\": %" PRIu32 ", \"connections\": %" PRIu64 "},\n",
		well ? "true" : "false", probe_is_ready(v) ? "true" : "false",
		v->draining ? "true" : "false", pool_workers(p->pool), p->share.worker_connections,
		report_connections(p->pool));
}

static void write_queue(FILE *out, const struct parts *p)
{
	const struct queue_figures q = queue_figures(p->queue);
	const uint64_t now_ns = clock_now_ns();

	fprintf(out,
		"\"queue\": {\"length\": %" PRIu32 ", \"limit\": %" PRIu32
		", \"accepted\": %" PRIu64
		", \"oldest_wait_s\": %.3f, \"saturated_for_s\": %.3f, \"saturations\": %" PRIu64
		"},\n",
		q.waiting, q.limit, q.pushed,
		q.oldest_ns && q.oldest_ns < now_ns ? (double)(now_ns - q.oldest_ns) / 1e9 : 0,
		q.saturated.since_ns && q.saturated.since_ns < now_ns
			? (double)(now_ns - q.saturated.since_ns) / 1e9
			: 0,
		q.saturated.count);
}

static void write_listeners(FILE *out, const struct listeners *l)
{
	char address[ADDRESS_TEXT_BYTES];

	fputs("\"listeners\": [", out);
	for (unsigned int i = 0; i < l->count; i++) {
		const struct listener_backlog b = listener_backlog(l->items[i].fd);

		fputs(i ? ", {\"address\": " : "{\"address\": ", out);
		put_json_string(out, address_format(&l->items[i].address, address));
		fprintf(out,
			", \"backlog\": %" PRIu32 ", \"backlog_limit\": %" PRIu32
			", \"dropped\": %" PRIu32 "}",
			b.length, b.limit, b.dropped);
	}
	fputs("],\n", out);
}

static void write_workers(FILE *out, const struct server *v)
{
	const struct pool *pool = v->parts.pool;

	fputs("\"workers\": [", out);
	for (unsigned int i = 0; i < pool_workers(pool); i++) {
		const struct worker_stats *w = pool_worker_stats(pool, i);

		fprintf(out,
			"%s{\"worker\": %u, \"works\": %s, \"cpu_share\": %.3f, \"connections\": "
			"%" PRIu64 ", \"taken\": %" PRIu64 ", \"wakeups\": %" PRIu64
			", \"events\": %" PRIu64 ", \"sent_bytes\": %" PRIu64 "}",
			i ? ",\n" : "", i, stat_get(&w->turn_ns) ? "true" : "false",
			admin_history(v->parts.admin)->rates[i].cpu / 1000.0,
			report_worker_connections(pool, i), stat_get(&w->taken),
			stat_get(&w->wakeups), stat_get(&w->events), stat_get(&w->sent_bytes));
	}
	fputs("],\n", out);
}

static void write_history(FILE *out, const struct history *h)
{
	fputs("\"history\": {", out);
	for (int minutes = 0; minutes < 2; minutes++) {
		fputs(minutes ? ",\n\"minutes\": [" : "\"seconds\": [", out);
		for (unsigned int i = 0; i < history_size(h, minutes); i++) {
			const struct sample *s = history_at(h, minutes, i);

			fprintf(out, "%s[%" PRIu32 ", %" PRIu32 ", %.3f, %.3f]", i ? ", " : "",
				s->connections, s->waiting, s->saturated / 1000.0, s->cpu / 1000.0);
		}
		fputc(']', out);
	}
	fputs(", \"columns\": [\"connections\", \"waiting\", \"saturated\", \"cpus\"]}}\n", out);
}

unsigned int status_json(FILE *out, const struct page_request *request)
{
	const struct server *v = request->server;
	const struct acceptor_figures f = acceptor_figures(v->parts.acceptor);

	write_pool(out, v);
	write_queue(out, &v->parts);
	write_listeners(out, &v->parts.listeners);
	if (request->workers)
		write_workers(out, v);
	fputs("\"holders\": ", out);
	status_holders_json(out, &v->parts);
	fputs(",\n", out);
	fprintf(out,
		"\"refused\": {\"denied\": %" PRIu64 ", \"too_many\": %" PRIu64
		", \"no_memory\": %" PRIu64 ", \"queue_full\": %" PRIu64
		", \"queue_timeout\": %" PRIu64 ", \"crowded\": %" PRIu64 "},\n",
		f.denied, f.too_many, f.no_memory, f.rejected, f.expired, f.crowded);
	fprintf(out,
		"\"reload\": {\"last_successful\": %s, \"loaded_at_s\": %lld, \"applied\": %" PRIu64
		", \"refused\": %" PRIu64 "},\n",
		v->report.last_refused ? "false" : "true", (long long)v->report.loaded_s,
		v->report.reloads, v->report.refused_reloads);
	write_history(out, admin_history(v->parts.admin));
	return 200;
}
