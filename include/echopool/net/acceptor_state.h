/*
 * The state of the acceptor, which acceptor.c (its thread) and admission.c (what becomes of an
 * accepted connection) share. Nobody else includes this header.
 */
#ifndef ECHOPOOL_NET_ACCEPTOR_STATE_H
#define ECHOPOOL_NET_ACCEPTOR_STATE_H

#include <stdatomic.h>

#include "echopool/base/bell.h"
#include "echopool/base/thread.h"
#include "echopool/net/accept_error.h"
#include "echopool/net/acceptor.h"

struct acceptor {
	struct acceptor_options options; /* the acceptor's own; main fills it before the start */
	struct bell bell;
	pthread_t thread; /* main thread */

	struct lock lock; /* for the next two; never held together with another */
	struct condition changed;
	const struct acceptor_options *next; /* main's, until the acceptor has taken it: NULL */

	/*
	 * Set by the main thread before it rings the bell, read by the acceptor after it was woken;
	 * release and acquire order them.
	 */
	atomic_bool stopping;
	/* Set by the acceptor before it rings options.main_bell; release and acquire as above. */
	atomic_bool broken;
	atomic_bool ended;

	/* Counted by the acceptor, read by any thread; see counter.h. */
	_Atomic uint64_t refused[ACCESS_VERDICTS];
	_Atomic uint64_t rejected;
	_Atomic uint64_t crowded;
	_Atomic uint64_t expired;
	struct wait_totals expired_waits;
	_Atomic uint64_t turn_ns; /* when the turn began that it is in; 0: it sleeps */
	_Atomic uint64_t failed[ACCEPT_ERRORS];

	/* The acceptor's own. */
	struct accept_pauses pauses;
	unsigned int first; /* the listener that is looked at first */
	unsigned int turns; /* at listeners, without a rush */
	bool rush;          /* the last turn found more than one */
	/* Nothing that waits in the queue has waited for queue_ms before; main's, once it has
	 * ended. */
	uint64_t expiry_ns;
	bool asked;    /* the queue has room for what is accepted in this turn */
	bool sweeping; /* emptying a backlog while the main thread waits: no pauses */
};

/* Hands an accepted connection to the queue, or turns it away. The acceptor's thread. */
void acceptor_admit(struct acceptor *a, struct arrival *arrival);

/*
 * Closes an admitted connection that no worker has taken; arrival->fd becomes -1. reason is for the
 * log. As acceptor_expire().
 */
void acceptor_let_go(struct acceptor *a, struct arrival *arrival, const char *reason);

#endif
