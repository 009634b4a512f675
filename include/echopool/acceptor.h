/*
 * The acceptor: one thread that accepts from every listener and pushes on the queue.
 */
#ifndef ECHOPOOL_ACCEPTOR_H
#define ECHOPOOL_ACCEPTOR_H

#include <stdbool.h>
#include <stdint.h>

#include "echopool/listener.h"
#include "echopool/queue.h"
#include "echopool/settings.h"

/* What the acceptor is told at its start; the pointers outlive it. */
struct acceptor_options {
	const struct listeners *listeners; /* nobody closes them while it runs */
	struct queue *queue;
	enum queue_full queue_full;
	bool log_connections;
	const struct bell *broken; /* rung if it cannot go on (acceptor_is_broken()) */
};

/* Its figures since the start. */
struct acceptor_figures {
	uint64_t accepted; /* pushed on the queue */
	uint64_t rejected; /* closed at once, as the queue was full */
	uint64_t failed;   /* accept4 answered an error; see the log */
};

struct acceptor;

/* Starts the thread. Returns NULL when it cannot; the log has said why. Main thread. */
struct acceptor *acceptor_start(const struct acceptor_options *options);

/*
 * Stops accepting: takes what the kernel's backlog holds, as far as the queue has room, ends the
 * thread and waits for it. Main thread; afterwards the listeners may be closed.
 */
void acceptor_stop(struct acceptor *a);

/* Frees an acceptor that was stopped. */
void acceptor_free(struct acceptor *a);

/* Whether accept4 answered what only a bug explains, so that nothing is accepted any more. Any
 * thread. */
bool acceptor_is_broken(const struct acceptor *a);

/* Any thread. */
struct acceptor_figures acceptor_figures(const struct acceptor *a);

#endif
