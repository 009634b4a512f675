/*
 * The figures of each worker. A worker writes its own, on its own cache lines; the main thread
 * reads all of them at any moment.
 */
#ifndef ECHOPOOL_POOL_WORKER_STATS_H
#define ECHOPOOL_POOL_WORKER_STATS_H

#include <stdalign.h>
#include <stdint.h>

#include "echopool/base/counter.h"
#include "echopool/base/histogram.h"

/* Waits in microseconds: a figure read back is at most 1/16 too high. */
#define WAIT_STEP_BITS 4U
/* 2^35 us are over nine hours; what is longer counts as that. */
#define WAIT_VALUE_BITS 35U
#define WAIT_BUCKETS    HISTOGRAM_BUCKETS(WAIT_STEP_BITS, WAIT_VALUE_BITS)

/* Waits. One thread counts or sums them up, and any may read them. */
struct wait_totals {
	_Atomic uint64_t count[WAIT_BUCKETS];
	_Atomic uint64_t sum_us;
};

/* Why a connection ended. */
enum conn_end {
	CONN_END_CLIENT,         /* it closed its side and has got every byte back */
	CONN_END_RESET,          /* it reset the connection */
	CONN_END_ERROR,          /* the network or the system ended it */
	CONN_END_IDLE,           /* nothing came for timeouts.idle */
	CONN_END_IDLE_WHEN_FULL, /* nothing came for timeouts.idle_when_full, and others waited */
	CONN_END_CROWDED,        /* its address held most, and others waited */
	CONN_END_WRITE,          /* nothing pending could be written for timeouts.write */
	CONN_END_DRAIN,          /* it was still open when the server stopped */
	CONN_END_COUNT
};

/* Only the worker's thread writes it, or for a sum the thread that makes the sum; any reads it. */
struct worker_stats {
	alignas(CACHE_LINE_BYTES) _Atomic uint64_t taken; /* connections, from the queue */
	_Atomic uint64_t handed_in;                       /* connections, from other workers */
	_Atomic uint64_t handed_out;                      /* connections, to others as it left */
	_Atomic uint64_t rebalanced; /* connections, to others that worked less */
	_Atomic uint64_t ended[CONN_END_COUNT];
	_Atomic uint64_t received_bytes;
	_Atomic uint64_t sent_bytes;
	struct wait_totals waits; /* from accept to the worker */
	_Atomic uint64_t owing;   /* connections with pending bytes, now */
	/* Of the loop. */
	_Atomic uint64_t wakeups;
	_Atomic uint64_t events;
	_Atomic uint64_t full_batches; /* wake-ups with as many events as one may have */
	_Atomic uint64_t polled_ns;    /* looking again before it slept; CPU time, and not work */
	_Atomic uint64_t turn_ns;      /* when the turn began that it is in; 0: it sleeps */
};

/* One word for the log: "client", "reset", ... */
const char *conn_end_name(enum conn_end end);

/* Counts a wait. Only the thread that owns totals may call it. */
void wait_totals_add(struct wait_totals *totals, uint64_t wait_us);

/* Adds what one worker has counted to sum, which the calling thread owns; any thread. */
void stats_sum(const struct worker_stats *stats, struct worker_stats *sum);

/* Adds waits to totals, which the calling thread owns; any thread. */
void wait_totals_sum(const struct wait_totals *waits, struct wait_totals *totals);

/* Takes away the waits that an earlier sum counted, which leaves those since then. */
void wait_totals_subtract(struct wait_totals *totals, const struct wait_totals *earlier);

/* How many waits were shorter than wait_us, which is a power of two, and how many there were. */
uint64_t wait_totals_below(const struct wait_totals *totals, uint64_t wait_us);
uint64_t wait_totals_count(const struct wait_totals *totals);

/*
 * The smallest wait in microseconds that at least share (0 to 1) of the waits do not exceed,
 * rounded up by at most 1/16; share 1 gives the longest. 0 when there was none.
 */
uint64_t wait_totals_quantile(const struct wait_totals *totals, double share);

#endif
