/*
 * What the peers share; see the header. Nothing here runs while an echo is served.
 */
#include "peer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

#define ACCEPT_PAUSE_MS 10

void peer_fail(const char *what)
{
	fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what, strerror(errno));
	exit(1);
}

long peer_number(const char *text, const char *what, long max)
{
	char *end;
	long number;

	errno = 0;
	number = strtol(text, &end, 10);
	if (errno || end == text || *end || number < 1 || number > max) {
		fprintf(stderr, "%s: %s: found \"%s\"; expected a whole number from 1 to %ld\n",
			program_invocation_short_name, what, text, max);
		exit(2);
	}
	return number;
}

double peer_seconds(const char *text)
{
	char *end;
	const double seconds = strtod(text, &end);

	if (end == text || *end || !(seconds > 0 && seconds <= 86400)) {
		fprintf(stderr, "%s: SECONDS: found \"%s\"; expected a number above 0, to 86400\n",
			program_invocation_short_name, text);
		exit(2);
	}
	return seconds;
}

int peer_port(int argc, char **argv)
{
	if (argc != 2) {
		fprintf(stderr, "usage: %s PORT\n", program_invocation_short_name);
		exit(2);
	}
	return (int)peer_number(argv[1], "PORT", 65535);
}

void peer_raise_descriptors(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		peer_fail("getrlimit");
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
		peer_fail("setrlimit");
}

static int open_listener(int port, int type, bool share)
{
	const struct sockaddr_in address = {.sin_family = AF_INET,
					    .sin_port = htons((uint16_t)port),
					    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	const int on = 1;
	const int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);

	if (fd < 0)
		peer_fail("socket");
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0)
		peer_fail("SO_REUSEADDR");
	if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) != 0)
		peer_fail("TCP_NODELAY");
	if (share && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) != 0)
		peer_fail("SO_REUSEPORT");
	if (bind(fd, (const struct sockaddr *)&address, sizeof(address)) != 0)
		peer_fail("bind");
	if (listen(fd, PEER_BACKLOG) != 0)
		peer_fail("listen");
	return fd;
}

int peer_listen(int port, int type)
{
	return open_listener(port, type, false);
}

int peer_listen_shared(int port, int type)
{
	return open_listener(port, type, true);
}

void peer_ready(void)
{
	if (puts("ready") < 0 || fflush(stdout) != 0)
		peer_fail("standard output");
}

bool peer_accept_failed(void)
{
	switch (errno) {
	case EAGAIN:
		return false;
	case EMFILE:
	case ENFILE:
	case ENOBUFS:
	case ENOMEM:
		/* Only the end of another client frees some. */
		if (poll(NULL, 0, ACCEPT_PAUSE_MS) < 0 && errno != EINTR)
			peer_fail("poll");
		return false;
	case EBADF:
	case EFAULT:
	case EINVAL:
	case ENOTSOCK:
	case EOPNOTSUPP:
		peer_fail("accept");
	default:
		/* The connection is gone already, or a signal came. */
		return true;
	}
}
