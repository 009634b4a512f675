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
#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

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

enum conn_want conn_send(struct conn *c, const unsigned char *bytes, size_t count,
			 struct worker_stats *stats)
{
	ssize_t n;

	do
		n = send(c->fd, bytes, count, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return conn_sent(c, bytes, count, n < 0 ? -errno : n, stats);
}

static enum conn_want echo(struct conn *c, unsigned char *buffer, size_t buffer_bytes,
			   struct worker_stats *stats)
{
	enum conn_want want;
	ssize_t n;

	do
		n = recv(c->fd, buffer, buffer_bytes, 0);
	while (n < 0 && errno == EINTR);
	want = conn_received(c, n < 0 ? -errno : n, stats);
	return want == CONN_WANT_WRITE ? conn_send(c, buffer, (size_t)n, stats) : want;
}

enum conn_want conn_serve(struct conn *c, unsigned char *buffer, size_t buffer_bytes,
			  struct worker_stats *stats)
{
	if (c->pending)
		return conn_send(c, c->pending + c->pending_offset,
				 c->pending_bytes - c->pending_offset, stats);
	return echo(c, buffer, buffer_bytes, stats);
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

/*
 * Bounds how long the kernel keeps what the peer has not taken when its connection is closed. A
 * peer that answers the probes of its closed window could have it kept for ever, and be it the end
 * alone, which has no room in the window either. Bytes are dropped by a reset after a timeout, and
 * for the room of others; otherwise the peer has timeouts.write. TCP_USER_TIMEOUT is set only here,
 * as on an open connection it ends slow readers too, whatever they take.
 */
static void bound_unsent(const struct conn *c, enum conn_end end, uint32_t write_ms)
{
	const struct linger reset = {.l_onoff = 1, .l_linger = 0};
	const bool ours = end == CONN_END_IDLE || end == CONN_END_IDLE_WHEN_FULL ||
			  end == CONN_END_CROWDED || end == CONN_END_WRITE;
	int unsent = 0, failed;

	if (ours && ioctl(c->fd, SIOCOUTQ, &unsent) == 0 && unsent)
		failed = setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	else
		failed = setsockopt(c->fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &write_ms,
				    sizeof(write_ms));
	if (failed)
		log_debug("what the kernel keeps of a closed connection: %s", strerror(errno));
}

void conn_close(struct conn *c, enum conn_end end, uint32_t write_ms, bool log_connections,
		struct worker_stats *stats)
{
	/* Counted before the close: a client that sees the end finds it in the figures. */
	stat_add(&stats->ended[end], 1);
	bound_unsent(c, end, write_ms);
	close(c->fd); /* not again after an error: the descriptor is gone all the same (close(2)) */
	if (log_connections)
		conn_log_closed(&c->peer, c->received_bytes, c->sent_bytes, c->accepted_ns,
				conn_end_name(end), end == CONN_END_ERROR ? c->error : 0);
	free(c->pending);
	free(c);
}
