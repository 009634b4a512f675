/*
 * Notices of the service's state to systemd (sd_notify(3)). Called by the main thread. Without
 * libsystemd these do nothing.
 */
#ifndef ECHOPOOL_CONTROL_NOTIFY_H
#define ECHOPOOL_CONTROL_NOTIFY_H

/* Each tells the state; status is one line for `systemctl status`. A failure is logged as a
 * warning. */
void notify_ready(const char *status);
void notify_reloading(void);
void notify_stopping(const char *status);

#endif
