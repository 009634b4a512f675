/*
 * The acceptor: one thread that accepts from every listener, checks who it is, and pushes on the
 * queue.
 */
#ifndef ECHOPOOL_NET_ACCEPTOR_H
#define ECHOPOOL_NET_ACCEPTOR_H

#include <stdbool.h>
#include <stdint.h>

#include "echopool/config/settings.h"
#include "echopool/net/accept_error.h"
#include "echopool/net/listeners.h"
#include "echopool/pool/access.h"
#include "echopool/pool/queue.h"
#include "echopool/pool/worker_stats.h"

/* What the acceptor works with; the pointers outlive it. */
struct acceptor_options {
	struct listeners listeners; /* nobody closes them while it uses them */
	struct queue *queue;
	struct access *access;
	uint32_t backlog;     /* of the listeners */
	bool listeners_close; /* after a stop: nobody else has them open */
	enum queue_full queue_full;
	uint32_t queue_ms; /* a connection waits in the queue at most so long; 0: as long as it
			      takes */
	bool log_connections;
	const struct bell *main_bell; /* rung when acceptor_is_broken() or acceptor_has_ended() */
};

/* Its figures since the start. */
struct acceptor_figures {
	uint64_t refused; /* closed at once by access or limits: the sum of the next three */
	uint64_t denied;
	uint64_t too_many; /* limits.connections_per_ip */
	uint64_t no_memory;
	uint64_t rejected; /* closed at once, as the queue was full */
	uint64_t crowded;  /* closed for others while no worker had room (admission.c) */
	uint64_t expired;  /* closed after timeouts.queue in the queue */
	uint64_t failed;   /* accept4 answered an error; see the log: the sum of these */
	uint64_t failed_by[ACCEPT_ERRORS];
};

struct acceptor;

/* Starts the thread. Returns NULL when it cannot; the log has said why. Main thread. */
struct acceptor *acceptor_start(const struct acceptor_options *options);

/*
 * Gives the acceptor other options. The listeners that are not among the new ones first take no
 * new clients; those whose handshake has begun are awaited, half a second at most, and what the
 * kernel's backlog holds is accepted, past the queue's limit too. When this returns, the acceptor
 * does not touch them any more. Main thread.
 */
void acceptor_change(struct acceptor *a, const struct acceptor_options *options);

/*
 * Has the acceptor stop: it parts from listeners that close as acceptor_change() does, and ends its
 * thread. May be called again. Main thread, as the next two.
 */
void acceptor_begin_stop(struct acceptor *a);

/* Whether the thread is about to end, so that acceptor_join() does not wait. */
bool acceptor_has_ended(const struct acceptor *a);

/* Waits for the end of a thread that was told to stop. Afterwards the listeners may be closed. */
void acceptor_join(struct acceptor *a);

/*
 * Closes what has waited in the queue for options.queue_ms. Returns when to call it next, before
 * which none will have; UINT64_MAX: never. The acceptor's thread; the main thread once it was
 * stopped.
 */
uint64_t acceptor_expire(struct acceptor *a, uint64_t now_ns);

/* Frees an acceptor that was stopped, having closed what still waits in the queue: no worker takes
 * it. */
void acceptor_free(struct acceptor *a);

/* Whether accept4 answered what only a bug explains, so that nothing is accepted any more. Any
 * thread. */
bool acceptor_is_broken(const struct acceptor *a);

/* Any thread, as the next two. */
struct acceptor_figures acceptor_figures(const struct acceptor *a);

/* Adds the waits that ended by timeouts.queue to totals. */
void acceptor_sum_waits(const struct acceptor *a, struct wait_totals *totals);

/* When the turn of its loop began that it is in; 0: it sleeps. */
uint64_t acceptor_turn_ns(const struct acceptor *a);

#endif
