/*
 * One listening socket and its options. Called by the main thread at start and on reload.
 */
#ifndef ECHOPOOL_NET_LISTENER_H
#define ECHOPOOL_NET_LISTENER_H

#include <stdbool.h>

#include "echopool/base/address.h"
#include "echopool/config/settings.h"

/* Sets a socket option whose value is an int. False: errno is set. */
bool listener_set_option(int fd, int level, int option, int value);

/* Sets what accepted connections inherit (listeners' own comment). False: errno is set. */
bool listener_tune(int fd, const struct settings *s);

/*
 * Returns a listening socket, which the caller closes, or -1 with errno set and *step naming what
 * failed. share_port: it may be bound beside another of this user that allows the same. closed:
 * nobody can connect to it before newcomers_release().
 */
int listener_open(const union address *a, const struct settings *s, bool share_port, bool closed,
		  const char **step);

/*
 * Binds a socket that is willing to share its port with others of this user, for a moment; this
 * machine need not have the address. False, with errno set: it cannot be bound.
 */
bool listener_can_share(const union address *a);

/*
 * True when this address cannot be had because the kernel lacks its family or IPv6 is switched off,
 * which is no mistake of the file.
 */
bool listener_family_is_lacking(const union address *a, int error);

/* What the kernel tells of a listening socket (TCP_INFO, SO_MEMINFO); 0 where it does not. */
struct listener_backlog {
	uint32_t length; /* connections that nobody has accepted */
	uint32_t limit;
	uint32_t dropped; /* newcomers for whom there was no room, since it was opened */
};

struct listener_backlog listener_backlog(int fd);

/* What the operator may do about an error of listener_open(); begins with "; " or is empty. */
const char *listener_advice(int error);

/* Warns when the kernel will cut the backlog (listen(2)) or the receive buffer (socket(7)). */
void listener_warn_of_cuts(const struct settings *s);

#endif
