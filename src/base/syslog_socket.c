/*
 * The local syslog daemon's socket; see the header.
 */
#include "echopool/base/syslog_socket.h"

#include <errno.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "echopool/base/thread.h"

static const struct sockaddr_un syslog_address = {.sun_family = AF_UNIX, .sun_path = SYSLOG_PATH};

int syslog_socket(void)
{
	return socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
}

int syslog_probe(void)
{
	int fd = syslog_socket();
	int error = 0;

	if (fd < 0)
		return 0;
	if (connect(fd, (const struct sockaddr *)&syslog_address, sizeof(syslog_address)) != 0 &&
	    errno != EPROTOTYPE)
		error = errno;
	close(fd);
	return error;
}

/* The connection to a daemon that listens on a stream; -1: none. Under its lock. */
static struct lock stream_lock = {PTHREAD_MUTEX_INITIALIZER};
static int stream_fd = -1;

static void close_stream(void) REQUIRES(stream_lock)
{
	if (stream_fd >= 0)
		close(stream_fd); /* what was not read yet still can be, or is lost */
	stream_fd = -1;
}

/* Does not wait for room in the daemon's backlog. */
static bool open_stream(void) REQUIRES(stream_lock)
{
	if (stream_fd >= 0)
		return true;
	stream_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (stream_fd >= 0 && connect(stream_fd, (const struct sockaddr *)&syslog_address,
				      sizeof(syslog_address)) == 0)
		return true;
	close_stream();
	return false;
}

/* Returns whether all bytes were sent. A daemon that was restarted gets a new connection. */
static bool send_stream(const char *bytes, size_t count)
{
	ssize_t n = -1;

	lock_acquire(&stream_lock);
	for (int tries = 0; n < 0 && tries < 2 && open_stream(); tries++) {
		n = send(stream_fd, bytes, count, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0 && errno == EAGAIN)
			break;
		/* What is broken is of no use, and a part of a line would spoil the next. */
		if (n != (ssize_t)count)
			close_stream();
	}
	lock_release(&stream_lock);
	return n == (ssize_t)count;
}

/*
 * The datagram is addressed each time, so that a restarted daemon is found again, and one that
 * listens on a stream instead. There a NUL ends the line, as syslog(3) has it.
 */
ssize_t syslog_send(int fd, const char *line, size_t bytes)
{
	const ssize_t n = sendto(fd, line, bytes, MSG_DONTWAIT | MSG_NOSIGNAL,
				 (const struct sockaddr *)&syslog_address, sizeof(syslog_address));

	if (n >= 0 || errno != EPROTOTYPE)
		return n;
	return send_stream(line, bytes + 1) ? (ssize_t)bytes : -1;
}

void syslog_close(int fd)
{
	if (fd >= 0)
		close(fd);
	lock_acquire(&stream_lock);
	close_stream();
	lock_release(&stream_lock);
}
