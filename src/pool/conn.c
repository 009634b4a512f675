/*
 * One connection's echo (RFC 862); see the header.
 *
 * Nothing is read while bytes are pending. So a connection keeps one buffer at most, and it sees
 * the end of the peer's stream only when every byte before it has been written. Closing then sends
 * the rest and the FIN, as a client that shut down its sending side expects.
 */
#include "echopool/pool/conn.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "echopool/base/clock.h"
#include "echopool/base/log.h"
#include "echopool/base/log_rate.h"

struct conn *conn_new(struct arrival *a)
{
	struct conn *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->fd = a->fd;
	c->accepted_ns = a->accepted_ns;
	c->peer = a->peer;
	c->counted = a->counted;
	a->fd = -1;
	return c;
}

enum conn_want conn_failed(struct conn *c, int error)
{
	c->error = error;
	c->end = error == ECONNRESET || error == EPIPE ? CONN_END_RESET : CONN_END_ERROR;
	return CONN_WANT_CLOSE;
}

static bool is_transient(ssize_t n)
{
	return n == -EAGAIN || n == -EWOULDBLOCK || n == -EINTR;
}

/* Keeps what could not be written until the peer takes it. */
static enum conn_want keep_pending(struct conn *c, const unsigned char *bytes, size_t count)
{
	c->pending = malloc(count);
	if (!c->pending)
		return conn_failed(c, ENOMEM);
	memcpy(c->pending, bytes, count);
	c->pending_bytes = (uint32_t)count;
	c->pending_offset = 0;
	return CONN_WANT_WRITE;
}

static enum conn_want flushed(struct conn *c, size_t n)
{
	c->pending_offset += (uint32_t)n;
	if (c->pending_offset < c->pending_bytes)
		return CONN_WANT_WRITE;
	free(c->pending);
	c->pending = NULL;
	c->pending_bytes = 0;
	c->pending_offset = 0;
	return CONN_WANT_READ;
}

enum conn_want conn_received(struct conn *c, ssize_t n, struct worker_stats *stats)
{
	if (n < 0)
		return is_transient(n) ? CONN_WANT_READ : conn_failed(c, (int)-n);
	if (n == 0) {
		c->end = CONN_END_CLIENT;
		return CONN_WANT_CLOSE;
	}
	c->received_bytes += (uint64_t)n;
	stat_add(&stats->received_bytes, (uint64_t)n);
	return CONN_WANT_WRITE;
}

enum conn_want conn_sent(struct conn *c, const unsigned char *bytes, size_t count, ssize_t n,
			 struct worker_stats *stats)
{
	if (n < 0 && !is_transient(n))
		return conn_failed(c, (int)-n);
	if (n < 0)
		n = 0; /* there is no room */
	c->sent_bytes += (uint64_t)n;
	stat_add(&stats->sent_bytes, (uint64_t)n);
	if (c->pending)
		return flushed(c, (size_t)n);
	if ((size_t)n < count)
		return keep_pending(c, bytes + n, count - (size_t)n);
	return CONN_WANT_READ;
}

void conn_log_closed(const union address *peer, uint64_t received_bytes, uint64_t sent_bytes,
		     uint64_t accepted_ns, const char *reason, int error)
{
	const double seconds = (double)(clock_now_ns() - accepted_ns) / (double)NS_PER_S;
	char text[ADDRESS_TEXT_BYTES];

	if (!log_rate_allows())
		return;
	log_info("connection closed peer=%s received=%" PRIu64 " sent=%" PRIu64
		 " seconds=%.3f reason=%s%s%s%s",
		 address_format(peer, text), received_bytes, sent_bytes, seconds, reason,
		 error ? " error=\"" : "", error ? strerror(error) : "", error ? "\"" : "");
}
