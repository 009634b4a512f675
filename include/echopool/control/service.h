/*
 * The parts of the server as one: listeners, access, queue, pool and acceptor, started, changed and
 * ended in the right order. Called by the main thread.
 */
#ifndef ECHOPOOL_CONTROL_SERVICE_H
#define ECHOPOOL_CONTROL_SERVICE_H

#include <stdbool.h>
#include <stddef.h>

#include "echopool/base/fdlimit.h"
#include "echopool/config/settings.h"
#include "echopool/net/acceptor.h"
#include "echopool/pool/pool.h"

/* The main thread's; what is shared with other threads is behind the pointers, as their headers
 * say. */
struct service {
	struct settings *settings; /* in effect; the caller's */
	const struct bell *bell;   /* rung when all workers have ended, or the acceptor is broken */
	unsigned int open_before;  /* descriptors, before the service opened its own */
	bool inherited;            /* the listeners came from systemd */
	struct listeners listeners;
	struct fd_share share;
	struct worker_tuning tuning;
	struct access *access;
	struct queue *queue;
	struct pool *pool;
	struct acceptor *acceptor;
};

/*
 * Starts everything for the settings; bell outlives the service. Returns false when something
 * cannot be had, which the log has told; service_end() then ends what was started.
 */
bool service_start(struct service *v, struct settings *s, const struct bell *bell);

/*
 * Applies other settings, all or nothing: true, with *v->settings holding them and the log telling
 * what changed; or false, with nothing changed and the log telling why. Empties next in either
 * case.
 */
bool service_apply(struct service *v, struct settings *next);

/* One line that says where it listens and the sizes in effect. */
void service_describe(const struct service *v, char *text, size_t bytes);

/* Accepts no more; what was accepted is served until it ends. */
void service_close(struct service *v);

/*
 * After service_close(): closes what has waited for a worker for timeouts.queue. Returns when the
 * next one will have; UINT64_MAX: never.
 */
uint64_t service_expire(struct service *v);

/* Frees everything; connections that are open are closed. */
void service_end(struct service *v);

#endif
