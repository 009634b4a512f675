/*
 * When something came in, as the kernel knows it: a thread that is held up sees it later. Any
 * thread, each with its own sockets.
 */
#ifndef ECHOLOAD_ARRIVAL_H
#define ECHOLOAD_ARRIVAL_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Compares the clocks. Main thread, before the others start. */
void arrival_init(void);

/* Asks the kernel to note the time of what comes in on a socket. Where it cannot, none is known. */
void arrival_note(int fd);

/*
 * Reads as recv(2) does. *came_ns gets the time (CLOCK_MONOTONIC) at which the last byte that was
 * read came in; it stays as it is where that is not known. It is wrong where somebody
 * has set the clock since arrival_init().
 */
ssize_t arrival_receive(int fd, void *buffer, size_t size, uint64_t *came_ns);

/* When a connection begun at began_ns was made, by the time that its handshake took; 0: unknown. */
uint64_t arrival_of_connection_ns(int fd, uint64_t began_ns);

#endif
