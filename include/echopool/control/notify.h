/*
 * Notices of the service's state to systemd, where NOTIFY_SOCKET asks for them. Called by the main
 * thread; each waits for a second at most, and the last one not at all.
 */
#ifndef ECHOPOOL_CONTROL_NOTIFY_H
#define ECHOPOOL_CONTROL_NOTIFY_H

#include <stdint.h>

/* Each tells the state; status is one line for `systemctl status`. A failure is logged as a
 * warning. */
void notify_ready(const char *status);
void notify_reloading(void);

/* The stop takes so many milliseconds at most, for which systemd is to wait. */
void notify_stopping(const char *status, uint64_t most_ms);

/* How often systemd's watchdog is to be told that the main thread is alive; 0: never. */
uint64_t notify_alive_ns(void);
void notify_alive(void);

#endif
