/*
 * What systemd gives and wants: sockets, and notices of the service's state (sd_listen_fds(3),
 * sd_notify(3)). Called by the main thread. Without libsystemd these do nothing, and
 * systemd_is_missing() tells when that would matter.
 */
#ifndef ECHOPOOL_CONTROL_SYSTEMD_H
#define ECHOPOOL_CONTROL_SYSTEMD_H

#include <stdbool.h>

/*
 * True, having logged the error, when the environment asks for what this program was built without:
 * sockets handed over (LISTEN_FDS) or notices (NOTIFY_SOCKET).
 */
bool systemd_is_missing(void);

/*
 * How many listening sockets were handed over, from *first on; 0: none. -1, having logged the
 * error, when the environment is wrong. The descriptors belong to the caller, and the variables are
 * gone.
 */
int systemd_listen_fds(int *first);

/* Each tells the state; status is one line for `systemctl status`. A failure is logged as a
 * warning. */
void systemd_notify_ready(const char *status);
void systemd_notify_reloading(void);
void systemd_notify_stopping(const char *status);

#endif
