/*
 * The set of listening sockets, from addresses of the settings. Called by the main thread.
 */
#ifndef ECHOPOOL_NET_LISTENERS_H
#define ECHOPOOL_NET_LISTENERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "echopool/base/address.h"
#include "echopool/config/settings.h"

/* Most addresses that `listen` may name, and most sockets that are taken over. */
#define LISTENERS_MAX 16

/* The main thread fills these; the acceptor works on a copy of its own. */
struct listener {
	int fd;                /* non-blocking */
	union address address; /* what it is bound to, with the real port */
};

struct listeners {
	struct listener items[LISTENERS_MAX];
	unsigned int count;
};

/*
 * Opens a listener for each address of the settings; with port 0 all get the same free port. An
 * address whose family the kernel lacks is skipped with a warning while another one listens.
 * Returns false, with nothing open, when one cannot be had; the log has said which and why.
 */
bool listeners_open(struct listeners *l, const struct settings *s);

/* Adds a socket that listens, with the address it is bound to. False: errno is set. */
bool listeners_add(struct listeners *l, int fd);

/* Closes them all. What the kernel has completed and nobody accepted is reset. */
void listeners_close(struct listeners *l);

/*
 * Makes next the listeners for other settings: a socket of now that is already bound to what is
 * wanted is in both, the others of next are new, and nobody can connect to them before
 * listeners_admit(). port_stays keeps the port of now where the settings say 0. Returns false, with
 * nothing changed, when one cannot be had; the log has said which and why.
 */
bool listeners_change(const struct listeners *now, struct listeners *next, const struct settings *s,
		      bool port_stays);

/* Lets clients come to those of next that are not in now. */
void listeners_admit(const struct listeners *next, const struct listeners *now);

/* Whether this socket is among them. */
bool listeners_have(const struct listeners *l, int fd);

/* Closes those that are not in keep, which is all that stays open of the two. */
void listeners_close_except(const struct listeners *l, const struct listeners *keep);

/* Gives sockets that stay another backlog. */
void listeners_set_backlog(const struct listeners *l, uint32_t backlog);

/* Gives sockets that stay the connection options of the settings. */
void listeners_tune(const struct listeners *l, const struct settings *s);

/* Writes "127.0.0.1:7007, [::1]:7007" into text, cut to bytes. */
void listeners_format(const struct listeners *l, char *text, size_t bytes);

#endif
