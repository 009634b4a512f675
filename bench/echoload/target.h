/*
 * Where the server is, and where from it is reached: texts into socket addresses. Main thread.
 */
#ifndef ECHOLOAD_TARGET_H
#define ECHOLOAD_TARGET_H

#include <stdbool.h>

#include <stdint.h>

#include "echopool/base/address.h"

/* Addresses that follow each other, to connect from in turn. */
struct sources {
	union address first; /* its port is 0 */
	uint32_t count;      /* 0: as the kernel chooses */
};

/*
 * Looks text up ("127.0.0.1", "[::1]:7007", "::1", "host.example:7"; port 7007 unless told) for
 * family, which may be AF_UNSPEC, and gives the first address (getaddrinfo(3)). Returns 0, or the
 * exit status of a run that has ended with a sentence on stderr: 2, text has another form; 1, there
 * is no such host.
 */
int target_find(const char *text, int family, union address *out);

/*
 * Parses "127.0.0.1-127.0.0.64", or one address, numeric and of the server's family. NULL gives
 * none. False, after a sentence on stderr, when it is something else.
 */
bool sources_parse(const char *text, const union address *server, struct sources *out);

/* The address number index, counted round. There must be one. */
union address sources_address(const struct sources *s, uint32_t index);

/* Whether connections can come from all of them; else a sentence on stderr names the first. */
bool sources_check(const struct sources *s);

#endif
