/*
 * The local syslog daemon's socket, written without waiting; syslog(3) waits where the daemon does
 * not read. For log.c alone.
 */
#ifndef ECHOPOOL_BASE_SYSLOG_SOCKET_H
#define ECHOPOOL_BASE_SYSLOG_SOCKET_H

#include <stddef.h>
#include <sys/types.h>

#define SYSLOG_PATH "/dev/log"

/* Returns a socket for lines; or -1 with errno set. Main thread. */
int syslog_socket(void);

/* Closes it, or nothing if it is -1, and what syslog_send() has opened. Main thread. */
void syslog_close(int fd);

/* Whether a daemon listens: 0, or the errno value that says why not. Main thread. */
int syslog_probe(void);

/*
 * Sends a line, whose line[bytes] is a NUL, as a datagram or, where the daemon has one, on its
 * stream. Returns its length, or -1 when it is lost. Any thread.
 */
ssize_t syslog_send(int fd, const char *line, size_t bytes);

#endif
