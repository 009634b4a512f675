/*
 * The textbook server: a thread for each client, which reads and writes back until the client
 * closes. "thread_per_connection PORT" listens on 127.0.0.1 and ends by SIGTERM.
 *
 * bench/compare.py runs it beside echopool. The main thread accepts; each client's thread owns its
 * descriptor and shares nothing with the others.
 */
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "peer.h"

/* The buffer lies on the stack; the rest is for calls. */
#define STACK_BYTES (PEER_BUFFER_BYTES + 65536)

static bool send_all(int fd, const char *bytes, size_t count)
{
	while (count > 0) {
		const ssize_t n = send(fd, bytes, count, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return false;
		bytes += n;
		count -= (size_t)n;
	}
	return true;
}

static void *serve(void *argument)
{
	const int fd = (int)(intptr_t)argument;
	char buffer[PEER_BUFFER_BYTES];
	ssize_t n;

	do
		n = recv(fd, buffer, sizeof(buffer), 0);
	while (n > 0 ? send_all(fd, buffer, (size_t)n) : n < 0 && errno == EINTR);
	close(fd); /* the descriptor is gone whatever it answers */
	return NULL;
}

static void set_up(pthread_attr_t *attributes)
{
	errno = pthread_attr_init(attributes);
	if (!errno)
		errno = pthread_attr_setdetachstate(attributes, PTHREAD_CREATE_DETACHED);
	if (!errno)
		errno = pthread_attr_setstacksize(attributes, STACK_BYTES);
	if (errno)
		peer_fail("pthread_attr");
}

int main(int argc, char **argv)
{
	const int port = peer_port(argc, argv);
	pthread_attr_t attributes;
	pthread_t thread;
	int listener;

	peer_raise_descriptors();
	set_up(&attributes);
	listener = peer_listen(port, SOCK_STREAM);
	peer_ready();
	for (;;) {
		const int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

		if (fd < 0) {
			peer_accept_failed();
			continue;
		}
		/* NOLINTNEXTLINE(performance-no-int-to-ptr): the descriptor is the argument */
		errno = pthread_create(&thread, &attributes, serve, (void *)(intptr_t)fd);
		if (errno) {
			/* Only this client is turned away. */
			perror("thread_per_connection: pthread_create");
			close(fd);
		}
	}
}
