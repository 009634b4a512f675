/*
 * recv, send and close as the kernel could answer them. What the worker may not do fails at once.
 */
#include <errno.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "echopool/base/clock.h"
#include "simulation.h"

ssize_t __wrap_recv(int fd, void *buffer, size_t count, int flags);
ssize_t __wrap_send(int fd, const void *buffer, size_t count, int flags);
int __wrap_getsockopt(int fd, int level, int option, void *value, socklen_t *bytes);
int __real_close(int fd);
int __wrap_close(int fd);

struct sim_socket *socket_of(int fd)
{
	if (fd < FIRST_FD || fd >= FIRST_FD + (int)sim.socket_count)
		return NULL;
	return &sim.sockets[fd - FIRST_FD];
}

void doom(struct sim_socket *s, enum conn_end end)
{
	s->doomed = true;
	s->end = end;
}

static ssize_t answer_error(struct sim_socket *s, const char *call, int error)
{
	trace(s, "%s: errno %d", call, error);
	errno = error;
	return -1;
}

static ssize_t answer_failure(struct sim_socket *s, const char *call, int error)
{
	doom(s, error == ECONNRESET || error == EPIPE ? CONN_END_RESET : CONN_END_ERROR);
	return answer_error(s, call, error);
}

/* The socket of a call that the worker may make now. */
static struct sim_socket *enter(int fd, const char *call)
{
	struct sim_socket *s = socket_of(fd);

	if (!s || s->stage != STAGE_HELD)
		sim_fail(s, "%s on descriptor %d, which is not its own", call, fd);
	if (!s->reported)
		sim_fail(s, "%s though nothing was reported", call);
	if (s->doomed)
		sim_fail(s, "%s after the end", call);
	if (!s->acted)
		s->pending_at_start = has_pending(s);
	s->acted = true;
	sim.turn = s;
	return s;
}

static uint32_t smaller(uint32_t a, size_t b)
{
	return a < b ? a : (uint32_t)b;
}

/* All that could be moved, or now and then less. */
static uint32_t some_of(uint32_t count)
{
	return dice_chance(&sim.dice, 250) ? dice_upto(&sim.dice, count) : count;
}

static ssize_t receive(struct sim_socket *s, void *buffer, size_t count)
{
	const uint32_t most = smaller(s->sent - s->received, count);
	const uint32_t n = some_of(most);

	if (n < most)
		totals.events[EVENT_SHORT_RECEIVE]++;
	memcpy(buffer, s->bytes + s->received, n);
	s->received += n;
	sim.received_bytes += n;
	s->since_ns = sim.now_ns;
	trace(s, "recv: %u, in all %u", n, s->received);
	return (ssize_t)n;
}

ssize_t __wrap_recv(int fd, void *buffer, size_t count, int flags)
{
	static const int errors[] = {ECONNRESET, ETIMEDOUT, EHOSTUNREACH, ENOMEM};
	struct sim_socket *s = enter(fd, "recv");
	const bool empty = s->received == s->sent;

	if (has_pending(s))
		sim_fail(s, "reads while %u bytes are pending", s->received - s->echoed);
	if (count != sim.buffer_bytes || flags != 0)
		sim_fail(s, "recv of %zu bytes with flags %d; the buffer has %u", count, flags,
			 sim.buffer_bytes);
	if (fault(EVENT_EINTR))
		return answer_error(s, "recv", EINTR);
	if (s->receives++ > 0)
		sim_fail(s, "reads twice in a turn");
	if (fault(EVENT_RECEIVE_ERROR))
		return answer_failure(s, "recv", DICE_PICK(&sim.dice, errors));
	if (s->error && (empty || dice_chance(&sim.dice, 500)))
		return answer_failure(s, "recv", s->error);
	if (fault(EVENT_RECEIVE_EAGAIN) || (empty && !s->finished))
		return answer_error(s, "recv", EAGAIN);
	if (!empty)
		return receive(s, buffer, count);
	doom(s, CONN_END_CLIENT);
	trace(s, "recv: the end");
	return 0;
}

static ssize_t echo(struct sim_socket *s, const void *buffer, size_t count)
{
	const uint32_t n = some_of(smaller(s->window, count));

	if (memcmp(buffer, s->bytes + s->echoed, count) != 0)
		sim_fail(s, "wrong bytes within %zu behind %u", count, s->echoed);
	if (n < count)
		totals.events[EVENT_SHORT_SEND]++;
	s->echoed += n;
	s->window -= n;
	s->since_ns = sim.now_ns;
	if (n > 0)
		s->taken_ns = sim.now_ns; /* what was sent left at once */
	sim.sent_bytes += n;
	totals.bytes += n;
	trace(s, "send: %u of %zu, in all %u", n, count, s->echoed);
	return (ssize_t)n;
}

ssize_t __wrap_send(int fd, const void *buffer, size_t count, int flags)
{
	static const int errors[] = {EPIPE, ECONNRESET, ENOBUFS, ENOMEM, ETIMEDOUT};
	struct sim_socket *s = enter(fd, "send");

	if (count == 0 || count != s->received - s->echoed)
		sim_fail(s, "sends %zu bytes; %u are pending", count, s->received - s->echoed);
	if (flags != MSG_NOSIGNAL)
		sim_fail(s, "send with flags %d", flags);
	if (fault(EVENT_EINTR))
		return answer_error(s, "send", EINTR);
	if (s->sends++ > 0)
		sim_fail(s, "writes twice in a turn");
	if (s->error)
		return answer_failure(s, "send", dice_chance(&sim.dice, 300) ? EPIPE : s->error);
	if (fault(EVENT_SEND_ERROR))
		return answer_failure(s, "send", DICE_PICK(&sim.dice, errors));
	if (s->window == 0 || fault(EVENT_SEND_EAGAIN))
		return answer_error(s, "send", EAGAIN);
	return echo(s, buffer, count);
}

/* Sometimes only one of the two figures tells that nothing was taken. */
int __wrap_getsockopt(int fd, int level, int option, void *value, socklen_t *bytes)
{
	struct sim_socket *s = socket_of(fd);
	struct tcp_info *info = value;
	uint32_t ago_ms;

	if (!s || s->stage != STAGE_HELD || level != IPPROTO_TCP || option != TCP_INFO ||
	    *bytes != sizeof(*info))
		sim_fail(s, "getsockopt at the wrong time");
	oracle_check(s);
	ago_ms = (uint32_t)((sim.now_ns - s->taken_ns) / NS_PER_MS);
	info->tcpi_last_data_sent = dice_chance(&sim.dice, 500) ? ago_ms : 0;
	info->tcpi_last_ack_recv = info->tcpi_last_data_sent ? dice_upto(&sim.dice, ago_ms)
							     : ago_ms;
	trace(s, "has taken nothing for %u ms", ago_ms);
	return 0;
}

/* The descriptor is gone whatever close() answers. */
int __wrap_close(int fd)
{
	struct sim_socket *s = socket_of(fd);

	if (!sim.running)
		return __real_close(fd);
	if (!s) {
		/* The worker's own descriptors; with the set, all go out of it. */
		for (unsigned int i = 0; fd == EPOLL_FD && i < sim.socket_count; i++)
			sim.sockets[i].watched = false;
		return 0;
	}
	if (s->stage != STAGE_HELD)
		sim_fail(s, "closed though it is not the worker's");
	/* A copy of the descriptor in another process would keep it in the set. */
	if (s->watched)
		sim_fail(s, "closed while it is watched");
	s->end = oracle_reason(s);
	sim.expected_ended[s->end]++;
	s->stage = STAGE_CLOSED;
	/* What is closed while it takes makes room too: it takes again after one turn for the
	 * others. */
	if (sim.taking)
		sim.take_due = true;
	else
		sim.must_take = true;
	sim.woke_for_time = false;
	sim.turn = NULL;
	trace(s, "close: %s", conn_end_name(s->end));
	if (!fault(EVENT_EINTR))
		return 0;
	errno = EINTR;
	return -1;
}
