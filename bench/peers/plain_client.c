/*
 * The plainest closed-loop client: it compares nothing and measures no latency. It is the yardstick
 * for the cost of echoload. "plain_client PORT CONNECTIONS BYTES SECONDS" connects to 127.0.0.1,
 * sends a message on each connection, and the next when as many bytes have come back. At the end it
 * prints one line of JSON: echoes, seconds, its CPU time, and that for an echo. It has one thread,
 * and reads the clock once for a batch of events.
 *
 * EPOLLOUT is not needed: when bytes of a half-sent message come back, there is room for more.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>

#include "peer.h"

#define EVENTS_PER_WAIT   256
#define MESSAGE_BYTES_MAX (16L << 20)

struct connection {
	int fd;
	size_t unsent;  /* bytes of the message under way */
	size_t missing; /* bytes of its echo */
};

struct run {
	int epoll_fd;
	size_t message_bytes;
	char *buffer; /* as large as a message; its contents do not matter */
	unsigned long long echoes;
};

static double seconds_of(clockid_t clock)
{
	struct timespec t;

	if (clock_gettime(clock, &t) != 0)
		peer_fail("clock_gettime");
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void connect_one(struct run *r, struct connection *c, uint16_t port)
{
	const struct sockaddr_in address = {.sin_family = AF_INET,
					    .sin_port = htons(port),
					    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
	const int on = 1;

	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		peer_fail("socket");
	if (connect(c->fd, (const struct sockaddr *)&address, sizeof(address)) != 0)
		peer_fail("connect");
	if (setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) != 0)
		peer_fail("TCP_NODELAY");
	if (epoll_ctl(r->epoll_fd, EPOLL_CTL_ADD, c->fd, &event) != 0)
		peer_fail("epoll_ctl");
}

static void send_some(const struct run *r, struct connection *c)
{
	const ssize_t n = send(c->fd, r->buffer, c->unsent, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (n >= 0)
		c->unsent -= (size_t)n;
	else if (errno != EAGAIN && errno != EINTR)
		peer_fail("send");
}

static void begin_message(const struct run *r, struct connection *c)
{
	c->unsent = r->message_bytes;
	c->missing = r->message_bytes;
	send_some(r, c);
}

static void take(struct run *r, struct connection *c)
{
	const ssize_t n = recv(c->fd, r->buffer, c->missing, MSG_DONTWAIT);

	if (n <= 0) {
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n == 0)
			errno = ECONNRESET;
		peer_fail("recv");
	}
	c->missing -= (size_t)n;
	if (c->missing == 0) {
		r->echoes++;
		begin_message(r, c);
	} else if (c->unsent) {
		send_some(r, c);
	}
}

/* Echoes until the clock says end. */
static void run_until(struct run *r, double end)
{
	struct epoll_event events[EVENTS_PER_WAIT];
	int n;

	do {
		n = epoll_wait(r->epoll_fd, events, EVENTS_PER_WAIT, 1000);
		if (n < 0 && errno != EINTR)
			peer_fail("epoll_wait");
		for (int i = 0; i < n; i++)
			take(r, events[i].data.ptr);
	} while (seconds_of(CLOCK_MONOTONIC) < end);
}

static void measure(struct run *r, double duration_s)
{
	const double begin = seconds_of(CLOCK_MONOTONIC),
		     cpu_begin = seconds_of(CLOCK_PROCESS_CPUTIME_ID);
	double seconds, cpu;

	run_until(r, begin + duration_s);
	cpu = seconds_of(CLOCK_PROCESS_CPUTIME_ID) - cpu_begin;
	seconds = seconds_of(CLOCK_MONOTONIC) - begin;
	printf("{\"echoes\": %llu, \"seconds\": %.6f, \"cpu_s\": %.6f, \"us_per_echo\": %.4f}\n",
	       r->echoes, seconds, cpu, r->echoes ? cpu * 1e6 / (double)r->echoes : 0.0);
}

int main(int argc, char **argv)
{
	struct run r = {.epoll_fd = epoll_create1(EPOLL_CLOEXEC)};
	struct connection *connections;
	double duration_s;
	uint16_t port;
	size_t count;

	if (argc != 5) {
		fprintf(stderr, "usage: plain_client PORT CONNECTIONS BYTES SECONDS\n");
		return 2;
	}
	port = (uint16_t)peer_number(argv[1], "PORT", 65535);
	count = (size_t)peer_number(argv[2], "CONNECTIONS", 1000000);
	r.message_bytes = (size_t)peer_number(argv[3], "BYTES", MESSAGE_BYTES_MAX);
	duration_s = peer_seconds(argv[4]);
	peer_raise_descriptors();
	connections = calloc(count, sizeof(*connections));
	r.buffer = calloc(1, r.message_bytes);
	if (r.epoll_fd < 0 || !connections || !r.buffer)
		peer_fail("start");
	for (size_t i = 0; i < count; i++)
		connect_one(&r, &connections[i], port);
	for (size_t i = 0; i < count; i++)
		begin_message(&r, &connections[i]);
	measure(&r, duration_s);
	free(r.buffer);
	free(connections);
	return 0; /* which closes them */
}
