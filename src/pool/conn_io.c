/*
 * The system calls of a connection; see the header.
 */
#include "echopool/pool/conn_io.h"

#include <errno.h>
#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "echopool/base/log.h"

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
