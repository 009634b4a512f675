/*
 * One connection's echo: what has come is written back, and what the peer does not take yet is
 * kept. A connection makes no system call and knows nothing of how its worker waits: it is told
 * what was received or sent, and says what to do next. conn_io.h has the calls.
 *
 * A connection belongs to exactly one worker, and only that worker's thread calls these functions.
 */
#ifndef ECHOPOOL_POOL_CONN_H
#define ECHOPOOL_POOL_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "echopool/base/address.h"
#include "echopool/pool/deadline_list.h"
#include "echopool/pool/ring.h"
#include "echopool/pool/worker_stats.h"

/* What a connection waits for. */
enum conn_want {
	CONN_WANT_READ,  /* more from the peer */
	CONN_WANT_WRITE, /* room to flush what is pending; nothing is read meanwhile */
	CONN_WANT_CLOSE, /* nothing: it has ended, and end says why */
};

/* What an engine has in flight for a connection; see engine_uring.c. */
enum conn_flight { CONN_FLIGHT_NONE, CONN_FLIGHT_RECEIVE, CONN_FLIGHT_FLUSH };

/* All fields belong to the thread of the worker that holds the connection. */
struct conn {
	int fd;
	int error;               /* errno of CONN_END_ERROR */
	enum conn_end end;       /* why, once CONN_WANT_CLOSE was answered */
	uint32_t pending_bytes;  /* the size of pending */
	uint32_t pending_offset; /* how much of pending is written */
	unsigned char *pending;  /* read and not written; on the heap; NULL while the peer reads */
	bool owing;              /* its worker counts it as one with pending bytes */
	uint64_t received_bytes;
	uint64_t sent_bytes;
	uint64_t accepted_ns;
	uint64_t moved_ns; /* when some of pending was written last, or was there first */
	union address peer;
	struct address_key counted;     /* see access_admit() */
	struct deadline_entry deadline; /* in a list of its worker, or on the way to another */
	/* Its engine's own, while it is watched. */
	enum conn_flight flight;
	int32_t result; /* of what was in flight: bytes, or a negative errno value */
	bool sends;     /* bytes of a shared buffer are sent before what is in flight begins: */
	int32_t sent;   /* what their send answered, which is all unless it failed */
	uint32_t lent;  /* the number of that buffer */
	uint32_t lent_bytes;
	uint32_t buffer; /* the number of the buffer that holds what came */
};

/* The connection that has this entry. */
static inline struct conn *conn_of_deadline(struct deadline_entry *deadline)
{
	return (struct conn *)((char *)deadline - offsetof(struct conn, deadline));
}

/*
 * Takes the arrival's descriptor over (a->fd becomes -1) into a new connection that wants to read.
 * Returns NULL, and leaves the arrival alone, when memory is short.
 */
struct conn *conn_new(struct arrival *a);

/*
 * Takes note of what recv(2) answered: a number of bytes, or a negative errno value.
 * CONN_WANT_WRITE: these bytes are owed; send them and tell conn_sent().
 */
enum conn_want conn_received(struct conn *c, ssize_t n, struct worker_stats *stats);

/*
 * Takes note of what send(2) answered for count bytes that are owed. What it did not take is kept
 * as pending; bytes that are pending already begin at c->pending + c->pending_offset.
 */
enum conn_want conn_sent(struct conn *c, const unsigned char *bytes, size_t count, ssize_t n,
			 struct worker_stats *stats);

/* Has it end for an error of the system. */
enum conn_want conn_failed(struct conn *c, int error);

/*
 * Logs the line that ends a connection, unless there are too many; error is an errno value, or 0.
 * Any thread: connections that no worker has seen end with it too.
 */
void conn_log_closed(const union address *peer, uint64_t received_bytes, uint64_t sent_bytes,
		     uint64_t accepted_ns, const char *reason, int error);

#endif
