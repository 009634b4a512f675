/*
 * The parts of the server as one: listeners, access, queue, pool and acceptor, started and ended in
 * the right order. apply.h changes them while they run. Called by the main thread.
 */
#ifndef ECHOPOOL_CONTROL_PARTS_H
#define ECHOPOOL_CONTROL_PARTS_H

#include <stdbool.h>
#include <stddef.h>

#include "echopool/base/fdlimit.h"
#include "echopool/config/settings.h"
#include "echopool/control/admin.h"
#include "echopool/net/acceptor.h"
#include "echopool/pool/pool.h"

/* The main thread's; what is shared with other threads is behind the pointers, as their headers
 * say. */
struct parts {
	struct settings *settings; /* in effect; the caller's */
	const struct bell *bell;   /* rung when all workers have ended, or the acceptor is broken */
	unsigned int open_before;  /* descriptors, before the server opened its own */
	bool inherited;            /* the listeners came from systemd */
	bool admin_inherited;      /* those of the admin endpoint did */
	bool uses_uring;           /* else epoll; chosen at start */
	struct listeners listeners;
	struct listeners admin_listeners; /* of the admin endpoint; none where it is off */
	struct fd_share share;
	struct worker_tuning tuning;
	struct access *access;
	struct queue *queue;
	struct pool *pool;
	struct acceptor *acceptor;
	struct admin *admin; /* made when it is first switched on */
};

/*
 * Starts everything for the settings; bell outlives the parts. Returns false when something
 * cannot be had, which the log has told; parts_end() then ends what was started.
 */
bool parts_start(struct parts *p, struct settings *s, const struct bell *bell);

/* One line that says where it listens and the sizes in effect. */
void parts_describe(const struct parts *p, char *text, size_t bytes);

/* Has the acceptor stop, which takes as long as handshakes that have begun, 500 ms at most. */
void parts_begin_close(struct parts *p);

/* Whether the acceptor has stopped; the bell is rung then. */
bool parts_may_close(const struct parts *p);

/* Closes the listeners once the acceptor has stopped; what was accepted is served until it ends. */
void parts_close(struct parts *p);

/*
 * After parts_close(): closes what has waited for a worker for timeouts.queue. Returns when the
 * next one will have; UINT64_MAX: never.
 */
uint64_t parts_expire(struct parts *p);

/* Frees everything; connections that are open are closed. */
void parts_end(struct parts *p);

/* The settings that each part uses; for parts.c and apply.c. */

/* How many workers the settings ask for; with 0, one for each CPU. */
unsigned int parts_workers(const struct settings *s);

/*
 * Divides the limit of descriptors between queue and workers, and warns when that is less than the
 * settings ask for. Returns false, having logged why, when it is not enough for all.
 */
bool parts_divide_descriptors(const struct parts *p, const struct settings *s, unsigned int workers,
			      const struct listeners *echo, const struct listeners *admin,
			      struct fd_share *share);

/*
 * Makes the admin endpoint if there are listeners for it, l, and no endpoint. Returns false, having
 * logged why, when it cannot be had.
 */
bool parts_need_admin(struct parts *p, const struct listeners *l);

/* Frees it if it has no listeners. */
void parts_drop_admin(struct parts *p);

/* Sets what the workers look at while they run. */
void parts_tune(struct worker_tuning *t, const struct settings *s);

/*
 * Bounds what all workers together serve, and with it what one address may have by default, of
 * which it tells where others than this machine can come.
 */
void parts_set_capacity(struct parts *p, unsigned int workers);

struct worker_options parts_worker_options(const struct parts *p);
struct acceptor_options parts_acceptor_options(const struct parts *p);

#endif
