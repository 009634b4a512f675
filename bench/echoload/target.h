/*
 * The addresses of the server and of the clients, from text. Main thread.
 */
#ifndef ECHOLOAD_TARGET_H
#define ECHOLOAD_TARGET_H

#include <stdbool.h>

#include <stdint.h>

#include "echopool/base/address.h"

/* A range of addresses to connect from in turn. */
struct sources {
	union address first; /* its port is 0 */
	uint32_t count;      /* 0: the kernel chooses */
};

/*
 * Finds the first address (getaddrinfo(3)) of text, "127.0.0.1", "[::1]:7007", "::1" or
 * "host.example:7", in family, which may be AF_UNSPEC. The default port is 7007. Returns 0, or
 * after a sentence on stderr the exit status: 2, text has another form; 1, there is no such host.
 */
int target_find(const char *text, int family, union address *out);

/*
 * Parses "127.0.0.1-127.0.0.64", or one address, of the server's family. NULL gives none. False,
 * after a sentence on stderr, when text is something else.
 */
bool sources_parse(const char *text, const union address *server, struct sources *out);

/* The address for connection index, in turn. There must be one. */
union address sources_address(const struct sources *s, uint32_t index);

/* Whether one can connect from all of them. False, after a sentence on stderr about the first. */
bool sources_check(const struct sources *s);

#endif
