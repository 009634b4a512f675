/*
 * One connection to the server; see the header.
 */
#include "client.h"

#include <errno.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "arrival.h"
#include "echopool/base/clock.h"
#include "echopool/base/thread.h"

/* So long a call may take to send a message, and a nanosecond more for each byte to copy. */
#define CALL_NS (200 * NS_PER_US)

/* connect(2) chooses the port: one in use for another server is free for this one. */
static bool bind_to(int fd, const union address *source)
{
	const int on = 1;

	return setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on)) == 0 &&
	       bind(fd, &source->any, address_length(source)) == 0;
}

static bool prepare(int fd, const union address *source)
{
	const int on = 1;

	arrival_note(fd);
	return setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) == 0 &&
	       (!source || bind_to(fd, source));
}

static bool begin_connect(struct client *c, const union address *server)
{
	c->opening_ns = clock_now_ns();
	return connect(c->fd, &server->any, address_length(server)) == 0 || errno == EINPROGRESS;
}

static uint64_t later(uint64_t a_ns, uint64_t b_ns)
{
	return a_ns > b_ns ? a_ns : b_ns;
}

bool client_open(struct client *c, const union address *server, const union address *source,
		 uint64_t wanted_ns)
{
	int error;

	c->fd = socket(server->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		return false;
	if (!prepare(c->fd, source) || !begin_connect(c, server)) {
		error = errno;
		close(c->fd); /* nothing was sent on it: no error matters */
		c->fd = -1;
		errno = error;
		return false;
	}
	c->state = CLIENT_CONNECTING;
	c->answered = false;
	c->wanted_ns = wanted_ns ? wanted_ns : c->opening_ns;
	c->could_ns = later(c->wanted_ns, c->room_ns);
	c->sent = c->received = pattern_start(c->index);
	c->asked = 0;
	c->answered_bytes = 0;
	c->messages = 0;
	c->flight_first = 0;
	c->in_flight = 0;
	return true;
}

static bool is_connected_to_itself(const struct client *c, const union address *server)
{
	union address own = {0};
	socklen_t length = sizeof(own);

	if (getsockname(c->fd, &own.any, &length) != 0)
		fail(errno, "getsockname");
	return address_equal(&own, server);
}

int client_connected(struct client *c, const union address *server)
{
	int error = 0;
	socklen_t length = sizeof(error);
	uint64_t came_ns, now_ns;

	if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &length) != 0)
		fail(errno, "getsockopt");
	if (!error && is_connected_to_itself(c, server))
		error = ECONNREFUSED;
	if (error)
		return error;
	c->state = CLIENT_OPEN;
	now_ns = clock_now_ns();
	came_ns = arrival_of_connection_ns(c->fd, c->opening_ns);
	if (!came_ns || came_ns > now_ns)
		came_ns = now_ns;
	c->room_ns = c->open_ns = client_over_ns(c->could_ns, c->opening_ns, came_ns);
	return 0;
}

void client_close(struct client *c)
{
	close(c->fd); /* what the server sent is read or given up: no error matters */
	c->fd = -1;
	c->state = CLIENT_CLOSED;
	c->in_flight = 0;
}

void client_ask(struct client *c, uint32_t bytes, uint64_t due_ns, uint64_t now_ns)
{
	uint32_t slot = c->flight_first + c->in_flight++;

	if (slot >= c->flight_limit)
		slot -= c->flight_limit;
	c->asked += bytes;
	c->messages++;
	c->flights[slot] = (struct flight){.due_ns = due_ns,
					   .asked_ns = now_ns,
					   .could_ns = later(due_ns, c->room_ns),
					   .end = c->asked};
}

static enum fault failed(struct client *c, int error)
{
	c->error = error;
	return fault_of(error);
}

/* Notes when the messages that go out with a call are sent, and when it took long, that. */
static void note_sent(struct client *c, uint64_t bytes)
{
	const uint64_t now_ns = clock_now_ns();

	for (uint32_t i = c->in_flight; i > 0; i--) {
		struct flight *f = &c->flights[(c->flight_first + i - 1) % c->flight_limit];

		if (f->sent_ns)
			return;
		f->sent_ns = now_ns > f->asked_ns + CALL_NS + bytes ? now_ns : f->asked_ns;
	}
}

static enum fault send_all(struct client *c)
{
	while (c->sent.bytes < c->asked) {
		const uint64_t left = c->asked - c->sent.bytes;
		const size_t count = left < PATTERN_CHUNK ? (size_t)left : PATTERN_CHUNK;
		const ssize_t n = send(c->fd, pattern_bytes(&c->sent), count, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN || errno == EWOULDBLOCK ? FAULT_NONE
								       : failed(c, errno);
		pattern_advance(&c->sent, (uint32_t)n);
	}
	return FAULT_NONE;
}

enum fault client_send(struct client *c)
{
	const uint64_t before = c->sent.bytes;
	const enum fault fault = send_all(c);

	note_sent(c, c->sent.bytes - before);
	return fault;
}

static void report_wrong_byte(const struct client *c, const unsigned char *bytes, uint32_t first)
{
	char detail[96];

	snprintf(detail, sizeof(detail), "byte %" PRIu64 " of its stream: sent 0x%02x, got 0x%02x",
		 c->received.bytes + first + 1, pattern_bytes(&c->received)[first], bytes[first]);
	fault_report(FAULT_WRONG, c->index, detail);
}

/* Compares received bytes with those sent. */
static enum fault compare(struct client *c, const unsigned char *bytes, uint32_t count,
			  uint64_t *wrong)
{
	const uint64_t pending = c->sent.bytes - c->received.bytes;
	const uint32_t asked = count < pending ? count : (uint32_t)pending;
	uint32_t first;
	const uint32_t differ = pattern_count_wrong(&c->received, bytes, asked, &first);

	if (differ)
		report_wrong_byte(c, bytes, first);
	*wrong += differ;
	pattern_advance(&c->received, asked);
	if (asked == count)
		return FAULT_NONE;
	fault_report(FAULT_WRONG, c->index, "the server sent bytes that nobody had sent to it");
	*wrong += count - asked;
	return FAULT_WRONG;
}

static void report_early_end(const struct client *c)
{
	char detail[96];

	if (c->sent.bytes == c->received.bytes)
		snprintf(detail, sizeof(detail), "the server closed it, and owed nothing");
	else
		snprintf(detail, sizeof(detail),
			 "the server closed it after %" PRIu64 " of %" PRIu64 " bytes",
			 c->received.bytes, c->sent.bytes);
	fault_report(FAULT_SHORT, c->index, detail);
}

void client_report(const struct client *c, enum fault fault)
{
	if (fault == FAULT_SHORT)
		report_early_end(c);
	else if (fault != FAULT_WRONG)
		fault_report(fault, c->index, strerror(c->error));
}

static ssize_t receive_some(struct client *c, unsigned char *buffer)
{
	uint64_t came_ns = 0, now_ns;
	ssize_t n;

	do
		n = arrival_receive(c->fd, buffer, PATTERN_CHUNK, &came_ns);
	while (n < 0 && errno == EINTR);
	if (n <= 0)
		return n;
	/* Where somebody has set the clock, it seems to have come before it can, or after now. */
	now_ns = clock_now_ns();
	c->came_is_known = came_ns && came_ns <= now_ns &&
			   (!c->in_flight || came_ns >= c->flights[c->flight_first].asked_ns);
	c->came_ns = c->came_is_known ? came_ns : now_ns;
	return n;
}

enum fault client_receive(struct client *c, unsigned char *buffer, bool ended, uint64_t *wrong)
{
	enum fault fault;
	ssize_t n;

	do {
		n = receive_some(c, buffer);
		if (n < 0)
			return errno == EAGAIN || errno == EWOULDBLOCK ? FAULT_NONE
								       : failed(c, errno);
		if (n == 0)
			return FAULT_SHORT;
		fault = compare(c, buffer, (uint32_t)n, wrong);
		/* A short read emptied the socket, unless its end has come. */
	} while (fault == FAULT_NONE && (ended || n == PATTERN_CHUNK));
	return fault;
}

/* What was sent before it came, was sent when the call returned, or else when it was made. */
static uint64_t began_ns(const struct client *c, const struct flight *f)
{
	return f->sent_ns && f->sent_ns < c->came_ns ? f->sent_ns : f->asked_ns;
}

bool client_answer(struct client *c, struct answer *answer)
{
	const struct flight *f;

	if (!c->in_flight)
		return false; /* an idle client has no flights */
	f = &c->flights[c->flight_first];
	if (f->end > c->received.bytes)
		return false;
	*answer = (struct answer){
		.due_ns = f->due_ns,
		.asked_ns = f->asked_ns,
		.could_ns = f->could_ns,
		.over_ns = client_over_ns(f->could_ns, began_ns(c, f), c->came_ns),
		.bytes = f->end - c->answered_bytes,
	};
	c->answered_bytes = f->end;
	if (c->in_flight == c->flight_limit)
		c->room_ns = answer->over_ns;
	c->in_flight--;
	if (++c->flight_first == c->flight_limit)
		c->flight_first = 0;
	return true;
}

uint64_t client_waits_since_ns(const struct client *c)
{
	if (c->state == CLIENT_CONNECTING)
		return c->opening_ns;
	return c->in_flight ? c->flights[c->flight_first].asked_ns : UINT64_MAX;
}
