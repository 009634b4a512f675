/*
 * Connected sockets for the unit tests, and waiting for them with a bound.
 */
#ifndef TESTS_SOCKETS_H
#define TESTS_SOCKETS_H

#include <stdbool.h>

/* A TCP connection over loopback: ours non-blocking as accept4 gives it, theirs blocking. */
struct tcp_pair {
	int ours;
	int theirs;
};

void tcp_pair_open(struct tcp_pair *pair);

/* Closes what is open (not -1). */
void tcp_pair_close(struct tcp_pair *pair);

/* Waits, for ten seconds at most, for events (poll(2)); false when they did not come. */
bool wait_for(int fd, short events);

/* Whether events hold at this moment. */
bool is_ready(int fd, short events);

/* Makes close() of fd send a reset. */
void reset_on_close(int fd);

/* Whether the descriptor is open. */
bool is_open(int fd);

#endif
