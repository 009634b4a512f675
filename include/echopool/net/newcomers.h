/*
 * Clients that closing a listener would reset: those whose handshake has begun there. The
 * acceptor's thread, for listeners that are about to close; the main thread, for those that a
 * reload opens and may have to close again.
 */
#ifndef ECHOPOOL_NET_NEWCOMERS_H
#define ECHOPOOL_NET_NEWCOMERS_H

#include <stdbool.h>

#include "echopool/net/listeners.h"

/*
 * Has the kernel ignore new clients of a listener from now on; handshakes that have begun go on. A
 * client tries again after a second, and then finds who listens, or is refused. This holds for
 * every process that has the socket. False: errno is set.
 */
bool newcomers_ignore(int listener_fd);

/* Ends this for a listener; a connection of such a listener is like any other again. */
void newcomers_release(int fd);

/* Whether a handshake at this listener's port is half done; true when the kernel cannot be asked.
 */
bool newcomers_are_half_open(const struct listener *l);

#endif
