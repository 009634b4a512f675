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

/*
 * How many sockets were handed over, from *first on; -1 when the environment is wrong. Their names
 * and the array of them are to be freed.
 */
static int find(int *first, char ***names)
{
	int n = sd_listen_fds_with_names(1, names);

	*first = SD_LISTEN_FDS_START;
	if (n < 0)
		log_error("LISTEN_FDS, LISTEN_PID, LISTEN_FDNAMES: %s", strerror(-n));
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

static int find(int *first, char ***names)
{
	*first = -1;
	*names = NULL;
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

bool inherited_take_one(struct listeners *l, const struct settings *s, int fd)
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
	    fcntl(fd, F_SETFD, FD_CLOEXEC) != 0 || (s && !listener_tune(fd, s)) ||
	    !listeners_add(l, fd)) {
		log_error("cannot take over descriptor %d from LISTEN_FDS: %s", fd,
			  strerror(errno));
		return false;
	}
	return true;
}

bool inherited_take(struct listeners *echo, struct listeners *admin, const struct settings *s)
{
	char **names = NULL;
	int first;
	const int count = find(&first, &names);
	bool good = count >= 0 && count <= LISTENERS_MAX;

	echo->count = admin->count = 0;
	if (count > LISTENERS_MAX)
		log_error("LISTEN_FDS hands over %d sockets; at most %d are taken", count,
			  LISTENERS_MAX);
	for (int i = 0; i < count && good; i++)
		good = names && strcmp(names[i], "admin") == 0
			       ? inherited_take_one(admin, NULL, first + i)
			       : inherited_take_one(echo, s, first + i);
	for (int i = 0; i < count; i++) {
		if (!good)
			close(first + i);
		if (names)
			free(names[i]);
	}
	free(names);
	if (!good)
		echo->count = admin->count = 0;
	return good;
}
