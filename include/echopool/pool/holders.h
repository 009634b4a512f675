/*
 * Who holds the workers: the oldest connections, those that moved most bytes, and those that have
 * been silent for longest. The main thread asks, while somebody looks; each worker answers for
 * itself at its next turn, and nobody waits for it.
 */
#ifndef ECHOPOOL_POOL_HOLDERS_H
#define ECHOPOOL_POOL_HOLDERS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "echopool/base/address.h"

enum holders_order { HOLDERS_OLDEST, HOLDERS_MOST_BYTES, HOLDERS_LONGEST_SILENT, HOLDERS_ORDERS };

/* So many of each order. */
#define HOLDERS_TOP 5

/* A connection as its worker saw it. */
struct holder {
	union address peer;
	unsigned int worker;
	uint64_t accepted_ns;
	uint64_t moved_ns; /* when it last received or sent something */
	uint64_t bytes;    /* received and sent */
};

/* The first ones in each order. The owner's: a worker, in its answer, or the main thread. */
struct holders {
	struct holder top[HOLDERS_ORDERS][HOLDERS_TOP];
	unsigned int count[HOLDERS_ORDERS];
	unsigned int missing; /* workers that have not answered; of all workers together only */
};

/*
 * What one worker answers. The main thread raises asked, and reads holders only where answered is
 * the same; the worker writes them only where it is not.
 */
struct holders_answer {
	atomic_uint asked;    /* written by the main thread */
	atomic_uint answered; /* written by the worker's thread */
	struct holders holders;
	bool called; /* it was asked while it held connections; the main thread's */
};

/* Adds a connection to those orders in which it is among the first. */
void holders_add(struct holders *all, const struct holder *h);

/* Has a worker answer, which must be woken then. Main thread. */
void holders_ask(struct holders_answer *a);

/* Adds what a worker has answered to those of all, or counts it as missing. Main thread. */
void holders_collect(const struct holders_answer *a, struct holders *all);

#endif
