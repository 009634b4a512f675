/*
 * One connection's echo: read what has come, write it back, and keep what the peer does not take
 * yet. A connection knows nothing of how its worker waits; it says what to wait for.
 *
 * A connection belongs to exactly one worker, and only that worker's thread calls these functions.
 */
#ifndef ECHOPOOL_POOL_CONN_H
#define ECHOPOOL_POOL_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

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

/* All fields belong to the thread of the worker that holds the connection. */
struct conn {
	int fd;
	int error;               /* errno of CONN_END_ERROR */
	enum conn_end end;       /* why, once CONN_WANT_CLOSE was answered */
	uint32_t pending_bytes;  /* the size of pending */
	uint32_t pending_offset; /* how much of pending is written */
	unsigned char *pending;  /* read and not written; on the heap; NULL while the peer reads */
	uint64_t received_bytes;
	uint64_t sent_bytes;
	uint64_t accepted_ns;
	uint64_t moved_ns; /* when some of pending was written last, or was there first */
	union address peer;
	struct address_key counted;     /* see access_admit() */
	struct deadline_entry deadline; /* in a list of its worker, or on the way to another */
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
 * Does one turn when what the connection wants has come true: reads at most one buffer and writes
 * it back, or flushes what is pending. buffer, of buffer_bytes, is the worker's scratch space.
 */
enum conn_want conn_serve(struct conn *c, unsigned char *buffer, size_t buffer_bytes,
			  struct worker_stats *stats);

/*
 * Closes the descriptor, counts the end in stats, logs it if log_connections is set, and frees c.
 * end is the reason, which is c->end after CONN_WANT_CLOSE. What the peer has not taken yet the
 * kernel keeps for write_ms (0: as it likes); it is dropped if a timeout or the room of others is
 * the reason.
 */
void conn_close(struct conn *c, enum conn_end end, uint32_t write_ms, bool log_connections,
		struct worker_stats *stats);

/*
 * Logs the line that ends a connection, unless there are too many; error is an errno value, or 0.
 * Any thread: connections that no worker has seen end with it too.
 */
void conn_log_closed(const union address *peer, uint64_t received_bytes, uint64_t sent_bytes,
		     uint64_t accepted_ns, const char *reason, int error);

#endif
