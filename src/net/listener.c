/*
 * One listening socket; see the header. Called by the main thread at start and on reload.
 *
 * Options that every connection needs are set on the listener: on Linux an accepted socket inherits
 * them, which saves a call or three for each connection.
 */
#include "echopool/net/listener.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/sock_diag.h>
#include <linux/socket.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "echopool/base/log.h"
#include "echopool/net/newcomers.h"

/* Of Linux 5.14, which the C library may not know. */
#ifndef SO_BUF_LOCK
#define SO_BUF_LOCK 72
#endif

bool listener_set_option(int fd, int level, int option, int value)
{
	return setsockopt(fd, level, option, &value, sizeof(value)) == 0;
}

/*
 * Undoes an SO_RCVBUF: the kernel tunes the size again, from where it begins for a new socket.
 * Before Linux 5.14 nobody can tell or undo it.
 */
static bool forget_receive_bytes(int fd)
{
	int lock = 0, bytes = 0, fresh, error;
	socklen_t length = sizeof(lock);
	bool known;

	if (getsockopt(fd, SOL_SOCKET, SO_BUF_LOCK, &lock, &length) != 0 ||
	    !(lock & SOCK_RCVBUF_LOCK))
		return true;
	fresh = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fresh < 0)
		return false;
	length = sizeof(bytes);
	known = getsockopt(fresh, SOL_SOCKET, SO_RCVBUF, &bytes, &length) == 0;
	error = errno;
	close(fresh);
	errno = error;
	/* The kernel doubles what is set (socket(7)). */
	return known && listener_set_option(fd, SOL_SOCKET, SO_RCVBUF, bytes / 2) &&
	       listener_set_option(fd, SOL_SOCKET, SO_BUF_LOCK, lock & ~SOCK_RCVBUF_LOCK);
}

static bool set_receive_bytes(int fd, const struct settings *s)
{
	const int bytes = (int)s->limits.receive_bytes;

	return bytes ? listener_set_option(fd, SOL_SOCKET, SO_RCVBUF, bytes)
		     : forget_receive_bytes(fd);
}

/* What accepted connections inherit. */
bool listener_tune(int fd, const struct settings *s)
{
	/*
	 * TCP_NOTSENT_LOWAT (tcp(7)) bounds what the kernel queues beyond what the peer's window
	 * takes, so that a peer that never reads costs about one buffer there and not megabytes. It
	 * leaves a fast, far peer its full window. SO_OOBINLINE keeps an urgent byte (MSG_OOB) in
	 * its place, where it would be lost otherwise.
	 */
	return listener_set_option(fd, IPPROTO_TCP, TCP_NODELAY, s->tcp.nodelay) &&
	       listener_set_option(fd, SOL_SOCKET, SO_KEEPALIVE, s->tcp.keepalive) &&
	       listener_set_option(fd, SOL_SOCKET, SO_OOBINLINE, 1) &&
	       listener_set_option(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT,
				   (int)s->limits.buffer_bytes) &&
	       set_receive_bytes(fd, s);
}

/* Returns a listening socket, or -1 with errno set and *step naming what failed. */
int listener_open(const union address *a, const struct settings *s, bool share_port, bool closed,
		  const char **step)
{
	int fd, error;

	*step = "cannot create a socket for";
	fd = socket(a->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	*step = "cannot set the options of";
	if (!listener_set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1))
		goto failed;
	if (share_port && !listener_set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1))
		goto failed;
	/* Without this "::" takes 0.0.0.0 too, and the list would not say what listens. */
	if (a->any.sa_family == AF_INET6 && !listener_set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1))
		goto failed;
	if (!listener_tune(fd, s))
		goto failed;
	*step = "cannot bind";
	if (bind(fd, &a->any, address_length(a)) != 0)
		goto failed;
	/* Where the kernel lacks it, clients of a listener that is closed again are reset. */
	if (closed && !newcomers_ignore(fd))
		log_warning("cannot keep clients from a new listener: %s", strerror(errno));
	*step = "cannot listen on";
	if (listen(fd, (int)s->listen.backlog) != 0)
		goto failed;
	return fd;

failed:
	error = errno;
	close(fd);
	errno = error;
	return -1;
}

bool listener_can_share(const union address *a)
{
	const bool v6 = a->any.sa_family == AF_INET6;
	const int fd = socket(a->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool bound;
	int error;

	if (fd < 0)
		return false;
	bound = listener_set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1) &&
		listener_set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1) &&
		listener_set_option(fd, v6 ? IPPROTO_IPV6 : IPPROTO_IP,
				    v6 ? IPV6_FREEBIND : IP_FREEBIND, 1) &&
		(!v6 || listener_set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1)) &&
		bind(fd, &a->any, address_length(a)) == 0;
	error = errno;
	close(fd); /* nobody has connected */
	errno = error;
	return bound;
}

static bool is_ipv6_loopback(const union address *a)
{
	return a->any.sa_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&a->v6.sin6_addr);
}

/* A kernel without IPv6, or one where it is switched off, has no ::1; that is no mistake of the
 * file. */
bool listener_family_is_lacking(const union address *a, int error)
{
	return error == EAFNOSUPPORT || (error == EADDRNOTAVAIL && is_ipv6_loopback(a));
}

const char *listener_advice(int error)
{
	switch (error) {
	case EADDRINUSE:
		return "; another program listens there, or has a connection from there (see `ss -atnp`): stop it, or choose another listen.port";
	case EOPNOTSUPP:
		return "; restart instead of a reload";
	case EACCES:
		return "; a port below 1024 needs CAP_NET_BIND_SERVICE";
	case EADDRNOTAVAIL:
		return "; this machine does not have that address (see `ip address`)";
	default:
		return "";
	}
}

/* What the kernel allows at most, and cuts silently; ULONG_MAX where it does not tell. */
static unsigned long most_of(const char *path)
{
	FILE *file = fopen(path, "re");
	unsigned long most = ULONG_MAX;
	char line[32];

	if (!file)
		return most;
	if (fgets(line, sizeof(line), file))
		most = strtoul(line, NULL, 10);
	fclose(file);
	return most;
}

void listener_warn_of_cuts(const struct settings *s)
{
	const unsigned long backlog = most_of("/proc/sys/net/core/somaxconn");
	const unsigned long bytes = most_of("/proc/sys/net/core/rmem_max");

	if (backlog < s->listen.backlog)
		log_warning("listen.backlog: %" PRIu32
			    " asked, the kernel gives %lu; raise net.core.somaxconn for more",
			    s->listen.backlog, backlog);
	if (bytes < s->limits.receive_bytes)
		log_warning("limits.receive_bytes: %" PRIu32
			    " asked, the kernel gives %lu; raise net.core.rmem_max for more",
			    s->limits.receive_bytes, bytes);
}

struct listener_backlog listener_backlog(int fd)
{
	uint32_t memory[SK_MEMINFO_VARS] = {0};
	struct tcp_info info = {0};
	socklen_t length = sizeof(info);

	/* Of a socket that listens, unacked and sacked are its backlog and that one's limit. */
	(void)getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length);
	length = sizeof(memory);
	(void)getsockopt(fd, SOL_SOCKET, SO_MEMINFO, memory, &length);
	return (struct listener_backlog){info.tcpi_unacked, info.tcpi_sacked,
					 memory[SK_MEMINFO_DROPS]};
}
