/*
 * /status.txt: what is wrong in a sentence, and the figures behind it, for curl and watch(1). Main
 * thread.
 */
#include <inttypes.h>

#include "echopool/base/clock.h"
#include "echopool/control/pages.h"
#include "echopool/control/server_state.h"
#include "echopool/control/status_holders.h"
#include "echopool/control/verdict.h"

unsigned int status_text(FILE *out, const struct page_request *request)
{
	const struct server *v = request->server;
	const struct parts *p = &v->parts;
	const struct queue_figures q = queue_figures(p->queue);
	const uint64_t limit = (uint64_t)pool_workers(p->pool) * p->share.worker_connections;
	char text[VERDICT_BYTES];

	verdict(v, text);
	fprintf(out,
		"%s\n\nconnections  %" PRIu64 " of %" PRIu64 "\nqueue        %" PRIu32
		" of %" PRIu32 "\nsaturated    %.1f s in all, %" PRIu64 " times\n",
		text, report_connections(p->pool), limit, q.waiting, q.limit,
		(double)spell_total_ns(&q.saturated, clock_now_ns()) / (double)NS_PER_S,
		q.saturated.count);
	status_holders_text(out, p);
	if (!request->workers)
		return 200;
	fprintf(out, "\n%6s  %11s  %10s  %10s  %12s  %12s\n", "worker", "connections", "taken",
		"CPU s", "wake-ups", "sent KiB");
	for (unsigned int i = 0; i < pool_workers(p->pool); i++) {
		const struct worker_stats *w = pool_worker_stats(p->pool, i);

		fprintf(out,
			"%6u  %11" PRIu64 "  %10" PRIu64 "  %10.2f  %12" PRIu64 "  %12" PRIu64 "\n",
			i, report_worker_connections(p->pool, i), stat_get(&w->taken),
			(double)pool_worker_cpu_ns(p->pool, i) / (double)NS_PER_S,
			stat_get(&w->wakeups), stat_get(&w->sent_bytes) / 1024);
	}
	return 200;
}
