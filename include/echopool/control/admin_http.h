/*
 * HTTP for the admin endpoint, through libmicrohttpd: which requests are answered, and the headers
 * of each answer. Main thread.
 */
#ifndef ECHOPOOL_CONTROL_ADMIN_HTTP_H
#define ECHOPOOL_CONTROL_ADMIN_HTTP_H

#include <stdbool.h>
#include <stdint.h>

#include "echopool/base/address.h"

/* Connections that have a place at once, whatever admin.connections says. */
#define ADMIN_CONNECTIONS_MAX 64

struct admin_http;
struct server;

/*
 * Makes it; ended is called with its argument and the descriptor of each connection that ends, just
 * before that is closed. Returns NULL, having logged why.
 */
struct admin_http *admin_http_new(void (*ended)(void *argument, int fd), void *argument);

/* Closes all connections and frees it. */
void admin_http_free(struct admin_http *h);

/* Takes over a non-blocking connection; closes it when there is no memory, and returns false. */
bool admin_http_add(struct admin_http *h, int fd, const union address *peer);

/* Readable when there is something to do (epoll(7)); not to be closed. */
int admin_http_fd(const struct admin_http *h);

/* When admin_http_run() has something to do without that; UINT64_MAX: never. */
uint64_t admin_http_due_ns(struct admin_http *h);

/* Reads, answers and closes as far as that is possible now. v is what pages tell of. */
void admin_http_run(struct admin_http *h, const struct server *v);

/* Requests of this path that were answered with this status; for /metrics. */
struct admin_count {
	const char *path; /* "other" for those that do not exist */
	unsigned int status;
	uint64_t requests;
};

/* The number-th of them; false: there are no more. */
bool admin_http_count(const struct admin_http *h, unsigned int number, struct admin_count *count);

#endif
