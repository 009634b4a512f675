/*
 * The local syslog daemon's socket; see the header.
 */
#include "echopool/base/syslog_socket.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

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
	if (connect(fd, (const struct sockaddr *)&syslog_address, sizeof(syslog_address)) != 0)
		error = errno;
	close(fd);
	return error;
}

/* The datagram is addressed each time, so that a restarted syslog daemon is found again. */
ssize_t syslog_send(int fd, const char *line, size_t bytes)
{
	return sendto(fd, line, bytes, MSG_DONTWAIT | MSG_NOSIGNAL,
		      (const struct sockaddr *)&syslog_address, sizeof(syslog_address));
}
