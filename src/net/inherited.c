/*
 * Sockets that systemd hands over; see the header. Main thread.
 */
#include "echopool/net/inherited.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "echopool/base/log.h"
#include "echopool/net/listener.h"

#ifdef HAVE_LIBSYSTEMD

#include <systemd/sd-daemon.h>

bool inherited_lacks_systemd(void)
{
	return false;
}

int inherited_count(int *first)
{
	int n = sd_listen_fds(1);

	*first = SD_LISTEN_FDS_START;
	if (n < 0) {
		log_error("LISTEN_FDS, LISTEN_PID: %s", strerror(-n));
		return -1;
	}
	return n;
}

#else

/* LISTEN_FDS is meant for the process that LISTEN_PID names only. */
static bool sockets_are_for_us(void)
{
	const char *pid = getenv("LISTEN_PID");

	return getenv("LISTEN_FDS") && pid && strtol(pid, NULL, 10) == (long)getpid();
}

bool inherited_lacks_systemd(void)
{
	if (!sockets_are_for_us())
		return false;
	log_error(
		"LISTEN_FDS is set, but this echopool was built without libsystemd; build it with -Dsystemd=enabled, or use no socket unit");
	return true;
}

int inherited_count(int *first)
{
	*first = -1;
	return 0;
}

#endif

static bool is_listening_tcp(int fd)
{
	int type = 0, listening = 0, family = 0;
	socklen_t length = sizeof(int);

	return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) == 0 && type == SOCK_STREAM &&
	       getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &length) == 0 && listening &&
	       getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &length) == 0 &&
	       (family == AF_INET || family == AF_INET6);
}

static bool take_one(struct listeners *l, const struct settings *s, int fd)
{
	int flags;

	if (!is_listening_tcp(fd)) {
		log_error(
			"descriptor %d from LISTEN_FDS is not a listening TCP socket; use ListenStream= with a port",
			fd);
		return false;
	}
	flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0 ||
	    fcntl(fd, F_SETFD, FD_CLOEXEC) != 0 || !listener_tune(fd, s) || !listeners_add(l, fd)) {
		log_error("cannot take over descriptor %d from LISTEN_FDS: %s", fd,
			  strerror(errno));
		return false;
	}
	return true;
}

bool inherited_take(struct listeners *l, const struct settings *s, int first, unsigned int count)
{
	bool good = count <= LISTENERS_MAX;

	l->count = 0;
	if (!good)
		log_error("LISTEN_FDS hands over %u sockets; at most %d are taken", count,
			  LISTENERS_MAX);
	for (unsigned int i = 0; i < count && good; i++)
		good = take_one(l, s, first + (int)i);
	if (!good) {
		for (unsigned int i = 0; i < count; i++)
			close(first + (int)i);
		l->count = 0;
	}
	return good;
}
