/*
 * The system calls of a connection: one turn of receiving and sending, and its end.
 *
 * A connection belongs to exactly one worker, and only that worker's thread calls these functions.
 */
#ifndef ECHOPOOL_POOL_CONN_IO_H
#define ECHOPOOL_POOL_CONN_IO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "echopool/pool/conn.h"
#include "echopool/pool/worker_stats.h"

/* Sends what the peer takes at once of the bytes that are owed, and keeps the rest. */
enum conn_want conn_send(struct conn *c, const unsigned char *bytes, size_t count,
			 struct worker_stats *stats);

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

#endif
