/*
 * The plain event loop: one thread, one level-triggered epoll set, one recv and one send for an
 * echo. "epoll_loop PORT" listens on 127.0.0.1 and ends by SIGTERM.
 *
 * bench/compare.py runs it beside echopool, as the yardstick of what an echo costs in CPU. Nothing
 * is read from a client that is owed bytes, so what is kept for it is bounded by one buffer.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "peer.h"

#define EVENTS_PER_WAIT 256

struct client {
	int fd;
	char *owed; /* NULL: nothing */
	size_t owed_bytes;
	size_t owed_offset;
};

static char buffer[PEER_BUFFER_BYTES];

static void watch(int epoll_fd, int operation, int fd, uint32_t events, void *pointer)
{
	struct epoll_event event = {.events = events, .data.ptr = pointer};

	if (epoll_ctl(epoll_fd, operation, fd, &event) != 0)
		peer_fail("epoll_ctl");
}

static void end(struct client *c)
{
	close(c->fd); /* the set forgets it, and each client is once in a batch of events */
	free(c->owed);
	free(c);
}

/* Sends what fits. Returns how much, or -1 when the client is lost. */
static ssize_t send_some(int fd, const char *bytes, size_t count)
{
	const ssize_t n = send(fd, bytes, count, MSG_NOSIGNAL);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	return n;
}

/* Writes what is owed; false when the client is lost. */
static bool pay(int epoll_fd, struct client *c)
{
	const ssize_t n =
		send_some(c->fd, c->owed + c->owed_offset, c->owed_bytes - c->owed_offset);

	if (n < 0)
		return false;
	c->owed_offset += (size_t)n;
	if (c->owed_offset == c->owed_bytes) {
		free(c->owed);
		c->owed = NULL;
		watch(epoll_fd, EPOLL_CTL_MOD, c->fd, EPOLLIN, c);
	}
	return true;
}

/* Keeps what the client does not take yet; false when there is no memory for it. */
static bool owe(int epoll_fd, struct client *c, const char *bytes, size_t count)
{
	c->owed = malloc(count);
	if (!c->owed)
		return false;
	memcpy(c->owed, bytes, count);
	c->owed_bytes = count;
	c->owed_offset = 0;
	watch(epoll_fd, EPOLL_CTL_MOD, c->fd, EPOLLOUT, c);
	return true;
}

/* Reads once and writes back; false when the client has closed or is lost. */
static bool echo(int epoll_fd, struct client *c)
{
	const ssize_t received = recv(c->fd, buffer, sizeof(buffer), 0);
	ssize_t sent;

	if (received < 0)
		return errno == EAGAIN || errno == EINTR;
	if (received == 0)
		return false;
	sent = send_some(c->fd, buffer, (size_t)received);
	if (sent < 0)
		return false;
	return sent == received || owe(epoll_fd, c, buffer + sent, (size_t)(received - sent));
}

/* epoll keeps the pointer to the client: NOLINTBEGIN(clang-analyzer-unix.Malloc) */
static void add_client(int epoll_fd, int fd)
{
	struct client *c = calloc(1, sizeof(*c));

	if (!c) {
		close(fd);
		return;
	}
	c->fd = fd;
	watch(epoll_fd, EPOLL_CTL_ADD, fd, EPOLLIN, c);
}
/* NOLINTEND(clang-analyzer-unix.Malloc) */

static void accept_all(int epoll_fd, int listener)
{
	for (;;) {
		const int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd < 0 && !peer_accept_failed())
			return;
		if (fd >= 0)
			add_client(epoll_fd, fd);
	}
}

int main(int argc, char **argv)
{
	const int port = peer_port(argc, argv);
	const int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event events[EVENTS_PER_WAIT];
	int listener, n;

	if (epoll_fd < 0)
		peer_fail("epoll_create1");
	peer_raise_descriptors();
	listener = peer_listen(port, SOCK_STREAM | SOCK_NONBLOCK);
	watch(epoll_fd, EPOLL_CTL_ADD, listener, EPOLLIN, NULL); /* no client: the listener */
	peer_ready();
	for (;;) {
		n = epoll_wait(epoll_fd, events, EVENTS_PER_WAIT, -1);
		if (n < 0 && errno != EINTR)
			peer_fail("epoll_wait");
		for (int i = 0; i < n; i++) {
			struct client *c = events[i].data.ptr;

			if (!c)
				accept_all(epoll_fd, listener);
			else if (!(c->owed ? pay(epoll_fd, c) : echo(epoll_fd, c)))
				end(c);
		}
	}
}
