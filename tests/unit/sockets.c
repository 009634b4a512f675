/*
 * Connected sockets for the unit tests; see the header.
 */
#include "sockets.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cmocka_setup.h"

void tcp_pair_open(struct tcp_pair *pair)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t length = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(listener >= 0);
	assert_int_equal(bind(listener, (struct sockaddr *)&address, length), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &length), 0);
	pair->theirs = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(pair->theirs >= 0);
	assert_int_equal(connect(pair->theirs, (struct sockaddr *)&address, length), 0);
	pair->ours = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	assert_true(pair->ours >= 0);
	close(listener);
}

void tcp_pair_close(struct tcp_pair *pair)
{
	if (pair->ours >= 0)
		close(pair->ours);
	if (pair->theirs >= 0)
		close(pair->theirs);
}

static bool poll_for(int fd, short events, int timeout_ms)
{
	struct pollfd p = {.fd = fd, .events = events};

	return poll(&p, 1, timeout_ms) == 1 && (p.revents & events);
}

bool wait_for(int fd, short events)
{
	return poll_for(fd, events, 10000);
}

bool is_ready(int fd, short events)
{
	return poll_for(fd, events, 0);
}

void reset_on_close(int fd)
{
	const struct linger now = {.l_onoff = 1, .l_linger = 0};

	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now)), 0);
}

bool is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0 || errno != EBADF;
}
