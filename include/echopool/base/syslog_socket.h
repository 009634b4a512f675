/*
 * The local syslog daemon's socket, written without waiting; syslog(3) waits where the daemon does
 * not read. For log.c alone.
 */
#ifndef ECHOPOOL_BASE_SYSLOG_SOCKET_H
#define ECHOPOOL_BASE_SYSLOG_SOCKET_H

#include <stddef.h>
#include <sys/types.h>

#define SYSLOG_PATH "/dev/log"

/* Returns a socket for lines, which the caller closes; or -1 with errno set. Main thread. */
int syslog_socket(void);

/* Whether a daemon listens: 0, or the errno value that says why not. Main thread. */
int syslog_probe(void);

/* Sends a line; returns its length, or -1 with errno set when it is lost. Any thread. */
ssize_t syslog_send(int fd, const char *line, size_t bytes);

#endif
