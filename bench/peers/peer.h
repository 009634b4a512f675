/*
 * What the peers of bench/peers share: their argument, their listening socket, and what they do
 * about an error. Called by each program's main thread.
 */
#ifndef PEER_H
#define PEER_H

#include <stdbool.h>

/* The buffer of every peer, as large as echopool's limits.buffer_bytes by default. */
#define PEER_BUFFER_BYTES 65536

#define PEER_BACKLOG 4096

/* Writes "NAME: what: " and errno's error to standard error, and exits with status 1. */
_Noreturn void peer_fail(const char *what);

/*
 * A whole number from the command line, from 1 to max. Exits with status 2 otherwise, after a line
 * that names what.
 */
long peer_number(const char *text, const char *what, long max);

/* Seconds from the command line, above 0 and at most a day. Exits with status 2 otherwise. */
double peer_seconds(const char *text);

/* The port from the command line, "NAME PORT". Exits with status 2 otherwise. */
int peer_port(int argc, char **argv);

/* Raises the limit of descriptors to the hard limit, as echopool does. */
void peer_raise_descriptors(void);

/*
 * A socket that listens on 127.0.0.1 with TCP_NODELAY, which Linux hands on to what is accepted.
 * type is SOCK_STREAM, with or without SOCK_NONBLOCK. The caller owns it. Exits on failure.
 */
int peer_listen(int port, int type);

/* The same, on a port that several of them share; each gets a part of the clients. */
int peer_listen_shared(int port, int type);

/* Says "ready" on standard output. */
void peer_ready(void);

/*
 * Handles accept's error in errno. True: accept again at once; false: there is nothing to accept.
 * Pauses 10 ms where descriptors or memory ran out; exits on any other error.
 */
bool peer_accept_failed(void);

#endif
