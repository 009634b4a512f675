/*
 * Listening sockets handed over by systemd (sd_listen_fds(3)). Called by the main thread at start.
 */
#ifndef ECHOPOOL_NET_INHERITED_H
#define ECHOPOOL_NET_INHERITED_H

#include <stdbool.h>

#include "echopool/net/listeners.h"

/*
 * True, having logged the error, when the environment asks for what a program built without
 * libsystemd lacks: sockets handed over (LISTEN_FDS).
 */
bool inherited_lacks_systemd(void);

/*
 * Takes over the listening sockets that were handed over: into admin those whose
 * FileDescriptorName= is "admin", into echo the others; either may stay empty. The variables of the
 * environment are gone afterwards.
 *
 * Returns false, having closed them all, when the environment is wrong or one is not a listening
 * TCP socket; the log has said which.
 */
bool inherited_take(struct listeners *echo, struct listeners *admin, const struct settings *s);

/*
 * Adds one of them to l. s is what its connections are given; NULL: nothing. Returns false when it
 * is not a listening TCP socket, which the log has said; the caller closes it.
 */
bool inherited_take_one(struct listeners *l, const struct settings *s, int fd);

#endif
