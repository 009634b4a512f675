/*
 * The figures of a running server as key=value lines in the log. Main thread.
 */
#ifndef ECHOPOOL_CONTROL_REPORT_H
#define ECHOPOOL_CONTROL_REPORT_H

#include "echopool/net/acceptor.h"
#include "echopool/pool/pool.h"

/* What reports tell of beside the parts' own figures. Starts as zero. */
struct report {
	uint64_t reloads;         /* applied */
	uint64_t refused_reloads; /* wrong files, and what the system refused */
	/* What the last report saw, so that the next tells the waits since then. */
	struct wait_totals earlier;
};

/*
 * Logs one line for each worker, one for all that have left once any has, one for the queue and one
 * for reloads. Counts are since the start, the quantiles of the wait from accept to worker since
 * the previous report.
 */
void report_log(struct report *r, const struct acceptor *acceptor, struct queue *queue,
		const struct pool *pool);

/* How many connections the workers hold now, or one that has left has handed on. */
uint64_t report_connections(const struct pool *pool);

#endif
