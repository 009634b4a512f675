/*
 * What a thread of the load counts. The thread writes it, the main thread may read it at any moment
 * (counter.h).
 */
#ifndef ECHOLOAD_TALLY_H
#define ECHOLOAD_TALLY_H

#include <stdalign.h>
#include <stdint.h>

#include "echopool/base/counter.h"
#include "latency.h"

/* What can go wrong. FAULT_WRONG counts bytes, the others count connections. */
enum fault {
	FAULT_NONE,
	FAULT_REFUSED,   /* nobody listens */
	FAULT_RESET,     /* the server reset the connection */
	FAULT_TIMED_OUT, /* no connection, or not the whole answer, in time */
	FAULT_WRONG,     /* bytes that differ from what was sent, or that nobody sent */
	FAULT_SHORT,     /* the server closed the connection before the client did */
	FAULT_OTHER,     /* the network or this system */
	FAULT_COUNT
};

/* "measured": in the measured time. */
struct tally {
	/* Each thread writes its own all the time, so they share no cache line. */
	alignas(CACHE_LINE_BYTES) _Atomic uint64_t echoes; /* measured; whole answers */
	_Atomic uint64_t bytes;                            /* measured; of these answers */
	_Atomic uint64_t answers;                          /* whole answers, measured or not */
	_Atomic uint64_t known;           /* those of which the kernel told when they came */
	_Atomic uint64_t unanswered;      /* messages whose whole answer never came */
	_Atomic uint64_t opened;          /* connections whose first answer came */
	_Atomic uint64_t opened_measured; /* the same, measured */
	_Atomic uint64_t fault[FAULT_COUNT];

	/* The open loop counts messages (or connections) that were due in the measured time: */
	_Atomic uint64_t asked;  /* all that were sent */
	_Atomic uint64_t unsent; /* those that were not */
	_Atomic uint64_t sent;   /* those sent in the measured time, or at most LATE_NS after it */
	_Atomic uint64_t gone;   /* all that were due in it or sent in it */
	_Atomic uint64_t late;   /* of these, the ones over LATE_NS late by the generator */
	_Atomic uint64_t late_max_ns;

	/* The time in which the generator was held up; see held.h. */
	_Atomic uint64_t held_ns;
	_Atomic uint64_t held_max_ns;

	/* Of the messages that were due in the measured time: */
	struct latency latency;     /* as their sender saw it, from when they were due */
	struct latency undelayed;   /* as a generator that is never late would have seen it */
	struct latency uncorrected; /* from when they were sent; the open loop only */

	struct latency connect; /* from connect to the first whole answer */
	struct latency connect_undelayed;
};

/* What the generator does later than this is late. */
#define LATE_NS UINT64_C(1000000)

/* An empty tally, to be freed with free(); NULL when memory is short. */
struct tally *tally_new(void);

/* Adds what from has counted; the caller owns to. */
void tally_add(struct tally *to, const struct tally *from);

/* Notes a time in a counter of the longest. Only the thread that owns the counter. */
static inline void tally_longest(_Atomic uint64_t *longest_ns, uint64_t ns)
{
	if (ns > stat_get(longest_ns))
		atomic_store_explicit(longest_ns, ns, memory_order_relaxed);
}

/* The number of faults of all kinds. */
uint64_t tally_faults(const struct tally *t);

/* "refused", "reset", ...: a word of the report. */
const char *fault_name(enum fault fault);

/* The fault that an errno value of connect, send or recv means. */
enum fault fault_of(int error);

/*
 * Reports the first fault of each kind in this run on stderr; does nothing for later ones. detail
 * is the rest of the sentence. Any thread.
 */
void fault_report(enum fault fault, uint32_t connection, const char *detail);

#endif
