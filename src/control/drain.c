/*
 * The drain: the listeners are closed, workers serve what was accepted and end as soon as they hold
 * nothing. At the deadline, or on a second signal, the queue is stopped, and workers close what
 * they hold. A drain wins over a reload. Main thread, which goes on reading signals while the
 * acceptor waits for handshakes that have begun.
 */
#include <inttypes.h>
#include <stdio.h>

#include "echopool/base/clock.h"
#include "echopool/base/log.h"
#include "echopool/control/notify.h"
#include "echopool/control/server_state.h"

void drain_begin(struct server *v, const char *why)
{
	v->draining = true;
	v->drain_why = why;
	v->drain_deadline_ns = clock_now_ns() + v->parts.settings->timeouts.drain_ms * NS_PER_MS;
	reload_child_abort(&v->child);
	parts_begin_close(&v->parts);
}

void drain_continue(struct server *v)
{
	const uint32_t drain_ms = v->parts.settings->timeouts.drain_ms;
	char status[128];
	uint32_t waiting;

	if (v->closed || !parts_may_close(&v->parts))
		return;
	v->closed = true;
	parts_close(&v->parts);
	/* Read before the others: a connection that is taken meanwhile counts twice, not never. */
	waiting = queue_figures(v->parts.queue).waiting;
	snprintf(status, sizeof(status),
		 "%s: draining connections=%" PRIu64 " waiting=%" PRIu32 " for at most %.1f s",
		 v->drain_why, report_connections(v->parts.pool), waiting, drain_ms / 1000.0);
	log_info("%s", status);
	notify_stopping(status, drain_ms + CLOSING_MS);
}

void drain_end(struct server *v, const char *why)
{
	const uint32_t waiting = queue_figures(v->parts.queue).waiting; /* read first, as above */

	log_info("%s: closing connections=%" PRIu64 " waiting=%" PRIu32, why,
		 report_connections(v->parts.pool), waiting);
	queue_stop(v->parts.queue);
	v->drain_deadline_ns = UINT64_MAX;
}
