/*
 * Who holds the workers, as text, JSON and HTML: the addresses with most connections, and the
 * connections that the workers told. See pool_holders(). Main thread.
 */
#include "echopool/control/status_holders.h"

#include <inttypes.h>

#include "echopool/base/clock.h"
#include "echopool/control/parts.h"

/* As each order is called. */
static const struct {
	const char *text;
	const char *json;
} orders[HOLDERS_ORDERS] = {
	[HOLDERS_OLDEST] = {"oldest", "oldest"},
	[HOLDERS_MOST_BYTES] = {"most bytes", "most_bytes"},
	[HOLDERS_LONGEST_SILENT] = {"longest silent", "longest_silent"},
};

static double seconds_since(uint64_t then_ns, uint64_t now_ns)
{
	return now_ns > then_ns ? (double)(now_ns - then_ns) / (double)NS_PER_S : 0;
}

/* Of one moment. */
struct view {
	uint64_t now_ns;
	size_t addresses;
	struct access_holder top[ACCESS_TOP];
	struct holders all;
};

/* False, with nothing in it, where addresses are not told; then nobody is asked. */
static bool look(struct view *view, const struct parts *p)
{
	*view = (struct view){.now_ns = clock_now_ns()};
	if (!p->settings->admin.peers)
		return false;
	view->addresses = access_top_holders(p->access, view->top);
	pool_holders(p->pool, p->queue, view->now_ns, &view->all);
	return true;
}

void status_holders_text(FILE *out, const struct parts *p)
{
	char peer[ADDRESS_TEXT_BYTES];
	struct view view;

	if (!look(&view, p))
		return;
	fputc('\n', out);
	for (size_t i = 0; i < view.addresses; i++)
		fprintf(out, "held by      %" PRIu32 "  %s\n", view.top[i].held, view.top[i].text);
	if (view.all.missing)
		fprintf(out, "workers that were asked and have not told yet: %u; look again\n",
			view.all.missing);
	for (unsigned int order = 0; order < HOLDERS_ORDERS; order++)
		for (unsigned int i = 0; i < view.all.count[order]; i++) {
			const struct holder *h = &view.all.top[order][i];

			fprintf(out,
				"%-15s %s of worker %u, %.1f s old, silent for %.1f s, %" PRIu64
				" bytes\n",
				orders[order].text, address_format(&h->peer, peer), h->worker,
				seconds_since(h->accepted_ns, view.now_ns),
				seconds_since(h->moved_ns, view.now_ns), h->bytes);
		}
}

static void write_json_order(FILE *out, const struct view *view, enum holders_order order)
{
	char peer[ADDRESS_TEXT_BYTES];

	fprintf(out, ",\n\"%s\": [", orders[order].json);
	for (unsigned int i = 0; i < view->all.count[order]; i++) {
		const struct holder *h = &view->all.top[order][i];

		fputs(i ? ", {\"peer\": " : "{\"peer\": ", out);
		put_json_string(out, address_format(&h->peer, peer));
		fprintf(out,
			", \"worker\": %u, \"age_s\": %.3f, \"silent_s\": %.3f, \"bytes\": %" PRIu64
			"}",
			h->worker, seconds_since(h->accepted_ns, view->now_ns),
			seconds_since(h->moved_ns, view->now_ns), h->bytes);
	}
	fputc(']', out);
}

void status_holders_json(FILE *out, const struct parts *p)
{
	struct view view;

	look(&view, p);
	fputs("{\"by_connections\": [", out);
	for (size_t i = 0; i < view.addresses; i++) {
		fputs(i ? ", {\"address\": " : "{\"address\": ", out);
		put_json_string(out, view.top[i].text);
		fprintf(out, ", \"connections\": %" PRIu32 "}", view.top[i].held);
	}
	fprintf(out, "], \"workers_missing\": %u", view.all.missing);
	for (unsigned int order = 0; order < HOLDERS_ORDERS; order++)
		write_json_order(out, &view, order);
	fputc('}', out);
}

static void write_html_addresses(FILE *out, const struct view *view)
{
	fputs("<div class=\"scroll\" tabindex=\"0\"><table id=\"addresses\">\n<thead><tr>"
	      "<th scope=\"col\">address</th><th scope=\"col\">connections</th></tr></thead>\n"
	      "<tbody>\n",
	      out);
	for (size_t i = 0; i < view->addresses; i++) {
		fputs("<tr><th scope=\"row\">", out);
		put_html_text(out, view->top[i].text);
		fprintf(out, "</th><td>%" PRIu32 "</td></tr>\n", view->top[i].held);
	}
	fputs("</tbody></table></div>\n", out);
}

static void write_html_order(FILE *out, const struct view *view, enum holders_order order)
{
	char peer[ADDRESS_TEXT_BYTES];

	for (unsigned int i = 0; i < view->all.count[order]; i++) {
		const struct holder *h = &view->all.top[order][i];

		fprintf(out, "<tr><th scope=\"row\">%s</th><td>", orders[order].text);
		put_html_text(out, address_format(&h->peer, peer));
		fprintf(out,
			"</td><td>%u</td><td>%.1f</td><td>%.1f</td><td>%" PRIu64 "</td></tr>\n",
			h->worker, seconds_since(h->accepted_ns, view->now_ns),
			seconds_since(h->moved_ns, view->now_ns), h->bytes);
	}
}

void status_holders_html(FILE *out, const struct parts *p)
{
	struct view view;

	if (!look(&view, p))
		return;
	fputs("<h2>Who holds the workers</h2>\n", out);
	write_html_addresses(out, &view);
	fputs("<div class=\"scroll\" tabindex=\"0\"><table id=\"holders\">\n", out);
	if (view.all.missing)
		fprintf(out, "<caption>Workers that have not told yet: %u</caption>\n",
			view.all.missing);
	fputs("<thead><tr><th scope=\"col\">connections</th><th scope=\"col\">peer</th>"
	      "<th scope=\"col\">worker</th><th scope=\"col\">age, s</th>"
	      "<th scope=\"col\">silent, s</th><th scope=\"col\">bytes</th></tr></thead>\n<tbody>\n",
	      out);
	for (unsigned int order = 0; order < HOLDERS_ORDERS; order++)
		write_html_order(out, &view, order);
	fputs("</tbody></table></div>\n", out);
}
