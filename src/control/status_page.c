/*
 * The status page, written as a whole for each request, so that it works without JavaScript and
 * shows what /metrics tells at the same moment. Main thread.
 *
 * Every text goes through put_html_text(), which escapes it: nothing of a client or of a file is
 * HTML.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

#include "echopool/base/clock.h"
#include "echopool/control/admin.h"
#include "echopool/control/history.h"
#include "echopool/control/pages.h"
#include "echopool/control/server_state.h"
#include "echopool/control/status_holders.h"
#include "echopool/control/verdict.h"
#include "echopool/net/listener.h"

/* Of more workers only so many are shown, the busiest. */
#define WORKERS_ALL  64
#define WORKERS_SOME 20

/* The plots' own units. */
#define PLOT_HEIGHT 100U

void put_html_text(FILE *out, const char *text)
{
	for (; *text; text++)
		switch (*text) {
		case '<':
			fputs("&lt;", out);
			break;
		case '>':
			fputs("&gt;", out);
			break;
		case '&':
			fputs("&amp;", out);
			break;
		case '"':
			fputs("&quot;", out);
			break;
		default:
			fputc(*text, out);
		}
}

static void tile(FILE *out, const char *id, const char *name, const char *text)
{
	fprintf(out, "<div><dt>%s</dt><dd id=\"%s\">", name, id);
	put_html_text(out, text);
	fputs("</dd></div>\n", out);
}

static void tile_of(FILE *out, const char *id, const char *name, uint64_t value, uint64_t limit)
{
	char text[48];

	snprintf(text, sizeof(text), "%" PRIu64 " of %" PRIu64, value, limit);
	tile(out, id, name, text);
}

static void tile_wait(FILE *out, const struct parts *p)
{
	struct wait_totals waits;
	char text[48];

	pool_sum_waits(p->pool, &waits);
	acceptor_sum_waits(p->acceptor, &waits); /* who got none has waited too */
	snprintf(text, sizeof(text), "%.1f ms", (double)wait_totals_quantile(&waits, 0.99) / 1000);
	tile(out, "wait", "Wait for a worker, 99 % below", text);
}

static void tile_bytes(FILE *out, const struct history *h)
{
	uint64_t sum = 0;
	char text[48];

	for (unsigned int i = 0; i < h->workers; i++)
		sum += h->rates[i].bytes_per_s;
	snprintf(text, sizeof(text), "%.1f KiB/s", (double)sum / 1024);
	tile(out, "bytes", "Echoed", text);
}

static void tile_reload(FILE *out, const struct report *r)
{
	char text[64] = "";
	struct tm when;

	if (localtime_r(&r->loaded_s, &when))
		strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &when);
	tile(out, "loaded",
	     r->last_refused ? "In effect since (a later file was refused)"
			     : "Settings in effect since",
	     text);
}

static void write_tiles(FILE *out, const struct server *v)
{
	const struct parts *p = &v->parts;
	const struct queue_figures q = queue_figures(p->queue);

	fputs("<dl class=\"tiles\">\n", out);
	tile_of(out, "connections", "Connections", report_connections(p->pool),
		(uint64_t)pool_workers(p->pool) * p->share.worker_connections);
	tile_of(out, "queue", "Queue", q.waiting, q.limit);
	for (unsigned int i = 0; i < p->listeners.count; i++) {
		const struct listener_backlog b = listener_backlog(p->listeners.items[i].fd);
		char name[ADDRESS_TEXT_BYTES + 16], address[ADDRESS_TEXT_BYTES], id[24];

		snprintf(name, sizeof(name), "Backlog of %s",
			 address_format(&p->listeners.items[i].address, address));
		snprintf(id, sizeof(id), "backlog-%u", i);
		tile_of(out, id, name, b.length, b.limit);
	}
	tile_wait(out, p);
	tile_bytes(out, admin_history(v->parts.admin));
	tile_reload(out, &v->report);
	fputs("</dl>\n", out);
}

/* The fields of a sample that are drawn. */
static const struct plot {
	const char *title;
	const char *unit;
	size_t offset;
	double divisor;
} plots[] = {
	{"Saturated", "% of the time", offsetof(struct sample, saturated), 10},
	{"Queue", "waiting", offsetof(struct sample, waiting), 1},
	{"Connections", "open", offsetof(struct sample, connections), 1},
	{"CPU", "CPUs", offsetof(struct sample, cpu), 1000},
};

static uint32_t sample_value(const struct sample *s, const struct plot *plot)
{
	return *(const uint32_t *)((const char *)s + plot->offset);
}

static void write_plot(FILE *out, const struct history *h, bool minutes, const struct plot *plot)
{
	const unsigned int size = history_size(h, minutes);
	const unsigned int width = minutes ? HISTORY_MINUTES : HISTORY_SECONDS;
	uint32_t most = 0;

	for (unsigned int i = 0; i < size; i++)
		if (sample_value(history_at(h, minutes, i), plot) > most)
			most = sample_value(history_at(h, minutes, i), plot);
	fprintf(out,
		"<figure><figcaption>%s, at most %.6g %s</figcaption>"
		"<svg viewBox=\"0 0 %u %u\" preserveAspectRatio=\"none\" role=\"img\" "
		"aria-label=\"%s, at most %.6g %s\"><polyline points=\"",
		plot->title, most / plot->divisor, plot->unit, width, PLOT_HEIGHT, plot->title,
		most / plot->divisor, plot->unit);
	for (unsigned int i = 0; i < size; i++)
		fprintf(out, "%u,%" PRIu64 " ", width - size + i,
			PLOT_HEIGHT -
				(uint64_t)sample_value(history_at(h, minutes, i), plot) *
					(PLOT_HEIGHT - 2) / (most ? most : 1) -
				1);
	fputs("\"/></svg></figure>\n", out);
}

static void write_plots(FILE *out, const struct history *h)
{
	for (int minutes = 0; minutes < 2; minutes++) {
		if (history_size(h, minutes) < 2)
			continue;
		fprintf(out, "<h2>%s</h2>\n<div class=\"plots\">\n",
			minutes ? "The last day" : "The last ten minutes");
		for (unsigned int i = 0; i < sizeof(plots) / sizeof(plots[0]); i++)
			write_plot(out, h, minutes, &plots[i]);
		fputs("</div>\n", out);
	}
}

/* The rates that are sorted by; the main thread's, as all here. */
static const struct history *sorted;

static int by_cpu(const void *a, const void *b)
{
	const uint32_t x = sorted->rates[*(const unsigned int *)a].cpu;
	const uint32_t y = sorted->rates[*(const unsigned int *)b].cpu;

	return x == y ? (*(const unsigned int *)a > *(const unsigned int *)b) * 2 - 1
		      : (x < y) * 2 - 1;
}

static void cell(FILE *out, double value, int decimals)
{
	fprintf(out, "<td data-value=\"%.17g\">%.*f</td>", value, decimals, value);
}

static void write_worker(FILE *out, const struct server *v, unsigned int i)
{
	const struct worker_stats *w = pool_worker_stats(v->parts.pool, i);
	const struct worker_rate *rate = &admin_history(v->parts.admin)->rates[i];
	const double wakeups = (double)stat_get(&w->wakeups);

	fprintf(out, "<tr><th scope=\"row\" data-value=\"%u\">%u</th><td data-value=\"%d\">%s</td>",
		i, i, stat_get(&w->turn_ns) != 0, stat_get(&w->turn_ns) ? "works" : "waits");
	cell(out, rate->cpu / 10.0, 1);
	cell(out, (double)report_worker_connections(v->parts.pool, i), 0);
	cell(out, (double)stat_get(&w->owing), 0);
	cell(out, wakeups > 0 ? (double)stat_get(&w->events) / wakeups : 0, 2);
	cell(out, (double)rate->bytes_per_s / 1024, 1);
	cell(out, (double)stat_get(&w->taken), 0);
	fputs("</tr>\n", out);
}

static void write_workers(FILE *out, const struct server *v)
{
	const unsigned int all = pool_workers(v->parts.pool);
	const unsigned int shown = all > WORKERS_ALL ? WORKERS_SOME : all;
	unsigned int order[POOL_WORKERS_MAX];

	for (unsigned int i = 0; i < all; i++)
		order[i] = i;
	sorted = admin_history(v->parts.admin);
	if (shown < all)
		qsort(order, all, sizeof(order[0]), by_cpu);
	fputs("<h2>Workers</h2>\n<div class=\"scroll\" tabindex=\"0\"><table id=\"workers\">\n",
	      out);
	fprintf(out, "<caption>%u of %u%s</caption>\n", shown, all,
		shown < all ? ", the busiest" : "");
	fputs("<thead><tr><th scope=\"col\">worker</th><th scope=\"col\">state</th>"
	      "<th scope=\"col\">CPU %</th><th scope=\"col\">connections</th>"
	      "<th scope=\"col\">owing</th><th scope=\"col\">events for a wake-up</th><th scope=\"col\">KiB/s</th>"
	      "<th scope=\"col\">taken</th></tr></thead>\n<tbody>\n",
	      out);
	for (unsigned int i = 0; i < shown; i++)
		write_worker(out, v, order[i]);
	fputs("</tbody></table></div>\n", out);
}

static void write_counts(FILE *out, const struct parts *p)
{
	const struct acceptor_figures f = acceptor_figures(p->acceptor);
	const struct {
		const char *name;
		uint64_t count;
	} rows[] = {{"accepted", queue_figures(p->queue).pushed},
		    {"denied", f.denied},
		    {"too many of one address", f.too_many},
		    {"no memory", f.no_memory},
		    {"queue full", f.rejected},
		    {"waited too long", f.expired},
		    {"crowded out while waiting", f.crowded},
		    {"errors of accept", f.failed}};

	fputs("<h2>Newcomers</h2>\n<div class=\"scroll\" tabindex=\"0\"><table id=\"newcomers\"><tbody>\n",
	      out);
	for (unsigned int i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		fprintf(out, "<tr><th scope=\"row\">%s</th><td>%" PRIu64 "</td></tr>\n",
			rows[i].name, rows[i].count);
	fputs("</tbody></table></div>\n", out);
}

static void write_settings(FILE *out, const struct settings *s)
{
	char text[SETTING_TEXT_BYTES];

	fputs("<h2>Settings in effect</h2>\n<pre tabindex=\"0\">", out);
	for (size_t i = 0; i < SETTINGS_COUNT; i++) {
		fprintf(out, "%s = ", settings_table[i].path);
		put_html_text(out, setting_text(&settings_table[i], s, text));
		fputc('\n', out);
	}
	fputs("</pre>\n", out);
}

unsigned int status_page(FILE *out, const struct page_request *request)
{
	const struct server *v = request->server;
	char text[VERDICT_BYTES], now[64] = "";
	const bool well = verdict(v, text);
	const time_t wall_s = time(NULL);
	struct tm when;

	if (localtime_r(&wall_s, &when))
		strftime(now, sizeof(now), "%Y-%m-%d %H:%M:%S", &when);
	fputs("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
	      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>",
	      out);
	put_html_text(out, text);
	fputs(" - echopool</title>\n<link rel=\"stylesheet\" href=\"/status.css\">\n"
	      "<script src=\"/status.js\" defer></script>\n"
	      "<noscript><meta http-equiv=\"refresh\" content=\"5\"></noscript>\n</head>\n<body>\n"
	      "<header>\n<h1>echopool " ECHOPOOL_VERSION "</h1>\n",
	      out);
	fprintf(out, "<p id=\"verdict\" class=\"%s\" role=\"status\" aria-live=\"polite\">",
		well ? "well" : "wrong");
	put_html_text(out, text);
	fprintf(out,
		"</p>\n<p class=\"controls\"><button id=\"pause\" aria-pressed=\"false\" "
		"hidden>Pause</button> <span id=\"age\">As of %s</span></p>\n</header>\n"
		"<main id=\"live\">\n",
		now);
	write_tiles(out, v);
	write_plots(out, admin_history(v->parts.admin));
	write_workers(out, v);
	status_holders_html(out, &v->parts);
	write_counts(out, &v->parts);
	write_settings(out, v->parts.settings);
	fputs("</main>\n</body>\n</html>\n", out);
	return 200;
}
