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
 * How many listening sockets were handed over, from *first on; 0: none. -1, having logged the
 * error, when the environment is wrong. The descriptors belong to the caller, and the variables are
 * gone.
 */
int inherited_count(int *first);

/*
 * Takes over count sockets from descriptor first on. Returns false, having closed them all, when
 * one is not a listening TCP socket; the log has said which.
 */
bool inherited_take(struct listeners *l, const struct settings *s, int first, unsigned int count);

#endif
