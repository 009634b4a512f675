/*
 * The gravest of what may be wrong comes first; see the header. Main thread.
 */
#include "echopool/control/verdict.h"

#include <inttypes.h>
#include <stdio.h>

#include "echopool/base/clock.h"
#include "echopool/base/cpus.h"
#include "echopool/control/admin.h"
#include "echopool/control/history.h"
#include "echopool/control/pages.h"
#include "echopool/control/server_state.h"

/* Of all CPUs, in the last second: so much is all of them, as the clients have theirs elsewhere. */
#define BUSY_PER_MILLE 950

static bool cpus_are_short(const struct server *v)
{
	const unsigned int count = history_size(admin_history(v->parts.admin), false);

	return count && history_at(admin_history(v->parts.admin), false, count - 1)->cpu >=
				BUSY_PER_MILLE * cpus_usable();
}

/* How many connections are owed bytes that their clients do not read, if that is most of them. */
static uint64_t most_do_not_read(const struct pool *pool)
{
	uint64_t owing = 0;

	for (unsigned int i = 0; i < pool_workers(pool); i++)
		owing += stat_get(&pool_worker_stats(pool, i)->owing);
	return 2 * owing > report_connections(pool) ? owing : 0;
}

bool verdict(const struct server *v, char text[static VERDICT_BYTES])
{
	const uint64_t owing = most_do_not_read(v->parts.pool);
	const struct queue_figures q = queue_figures(v->parts.queue);
	const uint64_t now_ns = clock_now_ns();
	const bool is_saturated = q.saturated.since_ns && q.saturated.since_ns <= now_ns;
	char who[VERDICT_BYTES - 64];

	if (v->draining)
		snprintf(text, VERDICT_BYTES,
			 "Draining: %" PRIu64 " connections are open, nobody new comes.",
			 report_connections(v->parts.pool));
	else if (acceptor_is_broken(v->parts.acceptor))
		snprintf(text, VERDICT_BYTES, "It cannot accept connections; see the log.");
	else if (is_saturated)
		snprintf(text, VERDICT_BYTES, "Saturated for %.1f s: %s.",
			 (double)(now_ns - q.saturated.since_ns) / (double)NS_PER_S,
			 starvation_text(&v->parts, q.waiting, who, sizeof(who)));
	else if (v->lame_duck_end_ns != UINT64_MAX)
		snprintf(text, VERDICT_BYTES,
			 "It stops soon: /readyz says no for timeouts.lame_duck.");
	else if (v->report.last_refused)
		snprintf(
			text, VERDICT_BYTES,
			"The last reload was refused, the settings before it are in effect; see the log.");
	else if (cpus_are_short(v))
		snprintf(text, VERDICT_BYTES, "The CPUs are short: it uses all of them.");
	else if (owing)
		snprintf(text, VERDICT_BYTES,
			 "Clients do not read: %" PRIu64 " of %" PRIu64 " are owed bytes.", owing,
			 report_connections(v->parts.pool));
	else {
		snprintf(text, VERDICT_BYTES, "All is well.");
		return true;
	}
	return false;
}
