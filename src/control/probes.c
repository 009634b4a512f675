/*
 * /livez and /readyz: whether to restart this server, and whether to send clients to it. Main
 * thread.
 *
 * A full pool is no reason to restart, so /livez depends on no load: it fails where a thread has
 * been inside one turn of its loop for so long that it must hang. /readyz fails while the server is
 * about to stop, where it cannot accept, and, if admin.unready_after says so, in a lasting
 * saturation.
 */
#include <inttypes.h>

#include "echopool/base/clock.h"
#include "echopool/control/pages.h"
#include "echopool/control/server_state.h"

/* A turn takes microseconds; of a process that was stopped, or a machine that swaps, seconds. */
#define HANGS_NS (10 * NS_PER_S)

#define OK          200
#define UNAVAILABLE 503

static bool hangs(uint64_t turn_ns, uint64_t now_ns)
{
	return turn_ns && turn_ns + HANGS_NS < now_ns;
}

unsigned int probe_live(FILE *out, const struct page_request *request)
{
	const struct parts *p = &request->server->parts;
	const uint64_t now_ns = clock_now_ns();

	if (hangs(acceptor_turn_ns(p->acceptor), now_ns)) {
		fputs("The acceptor hangs.\n", out);
		return UNAVAILABLE;
	}
	for (unsigned int i = 0; i < pool_workers(p->pool); i++)
		if (hangs(stat_get(&pool_worker_stats(p->pool, i)->turn_ns), now_ns)) {
			fprintf(out, "Worker %u hangs.\n", i);
			return UNAVAILABLE;
		}
	fputs("ok\n", out);
	return OK;
}

/* Why no clients should be sent here; NULL: they should. */
static const char *unready(const struct server *v)
{
	const uint32_t after_ms = v->parts.settings->admin.unready_after_ms;
	const uint64_t since_ns = queue_figures(v->parts.queue).saturated.since_ns;

	if (v->draining)
		return "It stops: the drain has begun.";
	if (v->lame_duck_end_ns != UINT64_MAX)
		return "It stops soon: timeouts.lame_duck runs.";
	if (acceptor_is_broken(v->parts.acceptor))
		return "It cannot accept connections.";
	if (after_ms && since_ns && since_ns + after_ms * NS_PER_MS <= clock_now_ns())
		return "The pool is saturated for longer than admin.unready_after.";
	return NULL;
}

unsigned int probe_ready(FILE *out, const struct page_request *request)
{
	const char *why = unready(request->server);

	fprintf(out, "%s\n", why ? why : "ok");
	return why ? UNAVAILABLE : OK;
}

bool probe_is_ready(const struct server *v)
{
	return unready(v) == NULL;
}
