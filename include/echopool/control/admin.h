/*
 * The admin endpoint: a small HTTP server in the main thread that tells how the server is doing. It
 * acts on nothing. It has descriptors of its own, and never waits: not for a client, not for a
 * worker. Main thread.
 */
#ifndef ECHOPOOL_CONTROL_ADMIN_H
#define ECHOPOOL_CONTROL_ADMIN_H

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

#include "echopool/config/settings.h"
#include "echopool/net/listeners.h"

/* What admin_fill_poll() fills at most: the listeners, and libmicrohttpd's epoll set. */
#define ADMIN_ADDRESSES_MAX 4
#define ADMIN_POLL_MAX      (ADMIN_ADDRESSES_MAX + 1)

struct admin;
struct history;
struct server;

/* How many descriptors it takes while it has listeners, which are counted apart. */
unsigned int admin_descriptors(const struct settings *s);

/*
 * Opens the listeners of admin.addresses, or closes none that stays: as listeners_open() and
 * listeners_change(). With no addresses next is empty. Returns false, having logged why, when one
 * cannot be had.
 */
bool admin_open_listeners(struct listeners *l, const struct settings *s);
bool admin_change_listeners(const struct listeners *now, struct listeners *next,
			    const struct settings *was, const struct settings *s);

/* Makes an endpoint without connections. Returns NULL, having logged why. */
struct admin *admin_new(void);

/* What has been since it was made. */
const struct history *admin_history(const struct admin *a);

/* Closes its connections and frees it; NULL does nothing. The listeners are the caller's. */
void admin_free(struct admin *a);

/* Sets what to wait for; returns how many of fds are set. */
unsigned int admin_fill_poll(const struct admin *a, const struct listeners *l,
			     struct pollfd fds[static ADMIN_POLL_MAX]);

/* When to call admin_serve() without an event; UINT64_MAX: never. */
uint64_t admin_due_ns(const struct admin *a, const struct server *v);

/*
 * Accepts who has come to the listeners and goes on with the connections: after each poll(2). v is
 * what is told of, and its history is kept here.
 */
void admin_serve(struct admin *a, struct server *v);

#endif
