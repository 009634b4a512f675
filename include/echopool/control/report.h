/*
 * The figures of a running server as key=value lines in the log. Main thread.
 */
#ifndef ECHOPOOL_CONTROL_REPORT_H
#define ECHOPOOL_CONTROL_REPORT_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "echopool/control/parts.h"

/* What reports tell of beside the parts' own figures. Starts as zero. */
struct report {
	uint64_t reloads;         /* applied */
	uint64_t refused_reloads; /* wrong files, and what the system refused */
	bool last_refused;        /* the last reload was */
	time_t started_s;         /* of the wall clock */
	time_t loaded_s;          /* when the settings took effect */
	/* What the last report saw, so that the next tells the waits since then. */
	struct wait_totals earlier;
	bool under_way; /* some workers have no line yet */
	bool again;     /* another one was asked for meanwhile */
	unsigned int next_worker;
	uint64_t due_ns;      /* when next_worker may have its line */
	uint64_t patience_ns; /* until when a log without room is waited for */
};

/*
 * Logs one line for the queue, one for reloads and one for all workers that have left, once any
 * has; then report_continue() logs one for each worker, as the log has room. Counts are since the
 * start, the quantiles of the wait from accept to worker since the previous report. Asked while
 * one is under way, it begins another one afterwards.
 */
void report_begin(struct report *r, const struct parts *p);

/* When to call report_continue(); UINT64_MAX: never. */
uint64_t report_due_ns(const struct report *r);
void report_continue(struct report *r, const struct parts *p);

/* Logs what is left of a report at once. */
void report_end(struct report *r, const struct parts *p);

/* A reload has ended; whether its settings are in effect. */
void report_reload(struct report *r, bool applied);

/* How many connections one worker holds now. */
uint64_t report_worker_connections(const struct pool *pool, unsigned int index);

/* How many connections the workers hold now, or one that has left has handed on. */
uint64_t report_connections(const struct pool *pool);

#endif
