/*
 * When something came in; see the header. socket(7) and tcp(7) describe the options.
 */
#include "arrival.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "echopool/base/clock.h"

#define READINGS 100

/* By how much CLOCK_REALTIME, the kernel's for this, is ahead of CLOCK_MONOTONIC. Both go alike. */
static uint64_t offset_ns;

void arrival_note(int fd)
{
	const int on = 1;

	/* Not every system has it. */
	(void)setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof(on));
}

static uint64_t real_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

void arrival_init(void)
{
	uint64_t shortest_ns = UINT64_MAX;

	/* A thread that is held up between the readings would take them for further apart. */
	for (int i = 0; i < READINGS; i++) {
		const uint64_t before_ns = clock_now_ns(), real = real_ns();
		const uint64_t took_ns = clock_now_ns() - before_ns;

		if (took_ns < shortest_ns) {
			shortest_ns = took_ns;
			offset_ns = real - before_ns - took_ns / 2;
		}
	}
}

static void read_time(struct msghdr *message, uint64_t *came_ns)
{
	const struct cmsghdr *c = CMSG_FIRSTHDR(message);
	struct timespec then;

	if (!c || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_TIMESTAMPNS)
		return;
	memcpy(&then, CMSG_DATA(c), sizeof(then));
	*came_ns = (uint64_t)then.tv_sec * NS_PER_S + (uint64_t)then.tv_nsec - offset_ns;
}

ssize_t arrival_receive(int fd, void *buffer, size_t size, uint64_t *came_ns)
{
	union {
		struct cmsghdr aligned;
		char bytes[CMSG_SPACE(sizeof(struct timespec))];
	} control;
	struct iovec part = {.iov_base = buffer, .iov_len = size};
	struct msghdr message = {.msg_iov = &part,
				 .msg_iovlen = 1,
				 .msg_control = &control,
				 .msg_controllen = sizeof(control)};
	const ssize_t n = recvmsg(fd, &message, 0);

	if (n > 0)
		read_time(&message, came_ns);
	return n;
}

uint64_t arrival_of_connection_ns(int fd, uint64_t began_ns)
{
	struct tcp_info info = {0};
	socklen_t length = sizeof(info);

	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length) != 0 || !info.tcpi_rtt)
		return 0;
	return began_ns + info.tcpi_rtt * NS_PER_US;
}
