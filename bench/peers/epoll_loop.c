/*
 * The plain event loop: one level-triggered epoll set, one recv and one send for an echo.
 * "epoll_loop PORT [THREADS]" listens on 127.0.0.1 and ends by SIGTERM. Each thread has a loop and
 * a listener of its own; the kernel spreads the clients over them (SO_REUSEPORT).
 *
 * bench/compare.py runs it beside echopool: with one thread as the yardstick for the CPU time of an
 * echo, and with one for each CPU as what one would write instead of a pool. Nothing is read from a
 * client while bytes are pending for it, so that these fit into one buffer.
 */
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "peer.h"

#define EVENTS_PER_WAIT 256
#define MOST_THREADS    1024

struct client {
	int fd;
	char *pending; /* NULL: nothing */
	size_t pending_bytes;
	size_t pending_offset;
};

static _Thread_local char buffer[PEER_BUFFER_BYTES];

static void watch(int epoll_fd, int operation, int fd, uint32_t events, void *pointer)
{
	struct epoll_event event = {.events = events, .data.ptr = pointer};

	if (epoll_ctl(epoll_fd, operation, fd, &event) != 0)
		peer_fail("epoll_ctl");
}

static void end(struct client *c)
{
	close(c->fd); /* a batch of events names each client once */
	free(c->pending);
	free(c);
}

/* Sends what fits. Returns how many bytes, or -1 when the client is lost. */
static ssize_t send_some(int fd, const char *bytes, size_t count)
{
	const ssize_t n = send(fd, bytes, count, MSG_NOSIGNAL);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	return n;
}

/* Writes what is pending; false when the client is lost. */
static bool flush(int epoll_fd, struct client *c)
{
	const ssize_t n = send_some(c->fd, c->pending + c->pending_offset,
				    c->pending_bytes - c->pending_offset);

	if (n < 0)
		return false;
	c->pending_offset += (size_t)n;
	if (c->pending_offset == c->pending_bytes) {
		free(c->pending);
		c->pending = NULL;
		watch(epoll_fd, EPOLL_CTL_MOD, c->fd, EPOLLIN, c);
	}
	return true;
}

/* Keeps what the client does not take yet; false when memory is short. */
static bool keep_rest(int epoll_fd, struct client *c, const char *bytes, size_t count)
{
	c->pending = malloc(count);
	if (!c->pending)
		return false;
	memcpy(c->pending, bytes, count);
	c->pending_bytes = count;
	c->pending_offset = 0;
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
	return sent == received || keep_rest(epoll_fd, c, buffer + sent, (size_t)(received - sent));
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

static int listeners[MOST_THREADS];

/* argument: where the listener's descriptor is. */
static void *run(void *argument)
{
	const int listener = *(const int *)argument;
	const int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event events[EVENTS_PER_WAIT];
	int n;

	if (epoll_fd < 0)
		peer_fail("epoll_create1");
	watch(epoll_fd, EPOLL_CTL_ADD, listener, EPOLLIN, NULL); /* no client: the listener */
	for (;;) {
		n = epoll_wait(epoll_fd, events, EVENTS_PER_WAIT, -1);
		if (n < 0 && errno != EINTR)
			peer_fail("epoll_wait");
		for (int i = 0; i < n; i++) {
			struct client *c = events[i].data.ptr;

			if (!c)
				accept_all(epoll_fd, listener);
			else if (!(c->pending ? flush(epoll_fd, c) : echo(epoll_fd, c)))
				end(c);
		}
	}
}

int main(int argc, char **argv)
{
	const int port = peer_port(argc == 3 ? 2 : argc, argv);
	const long threads = argc == 3 ? peer_number(argv[2], "THREADS", MOST_THREADS) : 1;

	peer_raise_descriptors();
	for (long i = 0; i < threads; i++)
		listeners[i] = threads > 1 ? peer_listen_shared(port, SOCK_STREAM | SOCK_NONBLOCK)
					   : peer_listen(port, SOCK_STREAM | SOCK_NONBLOCK);
	for (long i = 1; i < threads; i++) {
		pthread_t thread;

		errno = pthread_create(&thread, NULL, run, &listeners[i]);
		if (errno)
			peer_fail("pthread_create");
	}
	peer_ready();
	run(&listeners[0]);
}
