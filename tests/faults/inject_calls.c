/*
 * Replacements of the calls to the system; see inject.h. Called by any thread of the program.
 *
 * A fault must be one that the kernel could give. So a close that fails has closed; an eventfd
 * whose counter is full has been rung; and a broken pipe raises SIGPIPE, unless the call said not
 * to.
 */
#include "inject.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

/* What the descriptors are whose calls are kinds of their own. */
enum { FD_OTHER, FD_EVENT, FD_SIGNAL, FD_PIPE };
#define FD_MOST 65536
static _Atomic unsigned char descriptors[FD_MOST];

static void note_descriptor(int fd, unsigned char what)
{
	if (fd >= 0 && fd < FD_MOST)
		descriptors[fd] = what;
}

static unsigned char descriptor(int fd)
{
	return fd >= 0 && fd < FD_MOST ? descriptors[fd] : FD_OTHER;
}

/* What to do with a call; one that was told not to wait cannot hang. */
static enum verdict decide(enum call call, const void *caller, bool waits)
{
	const enum verdict v = inject_decide(call, caller);

	while (v == VERDICT_HANG && waits)
		syscall(SYS_pause);
	return v;
}

static bool fails(enum call call, const void *caller)
{
	return decide(call, caller, true) == VERDICT_FAIL;
}

static bool fails_if(bool waits, enum call call, const void *caller)
{
	return decide(call, caller, waits) == VERDICT_FAIL;
}

REPLACE(int, fcntl, "fcntl64", int fd, int command, ...)
{
	const bool sets = command == F_SETFL || command == F_SETFD;
	va_list arguments;
	void *argument;

	/* The kernel reads whatever is there, as the C library's own fcntl() does. */
	va_start(arguments, command);
	argument = va_arg(arguments, void *);
	va_end(arguments);
	if (fails(sets ? CALL_fcntl_set : CALL_fcntl_get, CALLER))
		return -1;
	return next_fcntl()(fd, command, argument);
}

REPLACE(int, getsockopt, "getsockopt", int fd, int level, int option, void *value, socklen_t *bytes)
{
	return fails(CALL_getsockopt, CALLER) ? -1
					      : next_getsockopt()(fd, level, option, value, bytes);
}

/* Whether a call on this descriptor with these flags of send(2) waits, and for ever. */
static bool waits(int fd, int flags)
{
	const int saved = errno;
	struct timeval most = {0};
	socklen_t bytes = sizeof(most);
	bool forever;

	forever = !(flags & MSG_DONTWAIT) && !(next_fcntl()(fd, F_GETFL) & O_NONBLOCK);
	if (forever && next_getsockopt()(fd, SOL_SOCKET, SO_SNDTIMEO, &most, &bytes) == 0 &&
	    (most.tv_sec || most.tv_usec))
		forever = false;
	errno = saved;
	return forever;
}

static void break_pipe(void)
{
	if (inject_error() != EPIPE)
		return;
	raise(SIGPIPE);
	errno = EPIPE;
}

REPLACE(int, accept4, "accept4", int fd, struct sockaddr *peer, socklen_t *bytes, int flags)
{
	return fails_if(waits(fd, 0), CALL_accept4, CALLER)
		       ? -1
		       : next_accept4()(fd, peer, bytes, flags);
}

REPLACE(int, bind, "bind", int fd, const struct sockaddr *address, socklen_t bytes)
{
	return fails(CALL_bind, CALLER) ? -1 : next_bind()(fd, address, bytes);
}

REPLACE(int, close, "close", int fd)
{
	const enum verdict v = inject_decide(CALL_close, CALLER);
	int result;

	note_descriptor(fd, FD_OTHER);
	result = next_close()(fd);
	if (v != VERDICT_FAIL)
		return result;
	errno = inject_error();
	return -1;
}

static bool is_datagram(int fd)
{
	socklen_t bytes = sizeof(int);
	int type = 0;

	return next_getsockopt()(fd, SOL_SOCKET, SO_TYPE, &type, &bytes) == 0 && type == SOCK_DGRAM;
}

/* The system's own syslog is not for this: the address of what stands in for it. */
static const struct sockaddr *in_place_of_syslog(const struct sockaddr *address,
						 struct sockaddr_un *stand_in)
{
	const struct sockaddr_un *local = (const struct sockaddr_un *)address;

	if (!inject_syslog() || !address || address->sa_family != AF_UNIX ||
	    strcmp(local->sun_path, "/dev/log") != 0)
		return address;
	*stand_in = (struct sockaddr_un){.sun_family = AF_UNIX};
	strncpy(stand_in->sun_path, inject_syslog(), sizeof(stand_in->sun_path) - 1);
	return (const struct sockaddr *)stand_in;
}

REPLACE(int, connect, "connect", int fd, const struct sockaddr *address, socklen_t bytes)
{
	struct sockaddr_un stand_in;

	/* One of datagrams only takes down the address. */
	if (fails_if(!is_datagram(fd) && waits(fd, 0), CALL_connect, CALLER))
		return -1;
	return next_connect()(fd, in_place_of_syslog(address, &stand_in), bytes);
}

REPLACE(int, epoll_create1, "epoll_create1", int flags)
{
	return fails(CALL_epoll_create1, CALLER) ? -1 : next_epoll_create1()(flags);
}

REPLACE(int, epoll_ctl, "epoll_ctl", int set, int operation, int fd, struct epoll_event *event)
{
	const enum call call = operation == EPOLL_CTL_ADD   ? CALL_epoll_ctl_add
			       : operation == EPOLL_CTL_MOD ? CALL_epoll_ctl_mod
							    : CALL_epoll_ctl_del;

	return fails(call, CALLER) ? -1 : next_epoll_ctl()(set, operation, fd, event);
}

REPLACE(int, epoll_wait, "epoll_wait", int set, struct epoll_event *events, int most, int ms)
{
	return fails(CALL_epoll_wait, CALLER) ? -1 : next_epoll_wait()(set, events, most, ms);
}

REPLACE(int, eventfd, "eventfd", unsigned int count, int flags)
{
	int fd = fails(CALL_eventfd, CALLER) ? -1 : next_eventfd()(count, flags);

	note_descriptor(fd, FD_EVENT);
	return fd;
}

REPLACE(int, signalfd, "signalfd", int fd, const sigset_t *set, int flags)
{
	int made = fails(CALL_signalfd, CALLER) ? -1 : next_signalfd()(fd, set, flags);

	note_descriptor(made, FD_SIGNAL);
	return made;
}

REPLACE(int, execv, "execv", const char *path, char *const arguments[])
{
	return fails(CALL_execv, CALLER) ? -1 : next_execv()(path, arguments);
}

REPLACE(pid_t, fork, "fork", void)
{
	return fails(CALL_fork, CALLER) ? -1 : next_fork()();
}

REPLACE(int, fstat, "fstat64", int fd, struct stat *st)
{
	const enum call call = fd == STDERR_FILENO ? CALL_fstat_log : CALL_fstat_file;

	return fails(call, CALLER) ? -1 : next_fstat()(fd, st);
}

REPLACE(ssize_t, getrandom, "getrandom", void *buffer, size_t bytes, unsigned int flags)
{
	return fails_if(!(flags & GRND_NONBLOCK), CALL_getrandom, CALLER)
		       ? -1
		       : next_getrandom()(buffer, bytes, flags);
}

REPLACE(int, getsockname, "getsockname", int fd, struct sockaddr *address, socklen_t *bytes)
{
	return fails(CALL_getsockname, CALLER) ? -1 : next_getsockname()(fd, address, bytes);
}

REPLACE(int, setsockopt, "setsockopt", int fd, int level, int option, const void *value,
	socklen_t bytes)
{
	return fails(CALL_setsockopt, CALLER) ? -1
					      : next_setsockopt()(fd, level, option, value, bytes);
}

static void note_listener(int fd)
{
	struct sockaddr_storage address;
	socklen_t bytes = sizeof(address);

	if (next_getsockname()(fd, (struct sockaddr *)&address, &bytes) != 0)
		return;
	if (address.ss_family == AF_INET)
		inject_note_port(AF_INET, ntohs(((struct sockaddr_in *)&address)->sin_port));
	else if (address.ss_family == AF_INET6)
		inject_note_port(AF_INET6, ntohs(((struct sockaddr_in6 *)&address)->sin6_port));
}

REPLACE(int, listen, "listen", int fd, int backlog)
{
	int result = fails(CALL_listen, CALLER) ? -1 : next_listen()(fd, backlog);

	if (result == 0)
		note_listener(fd);
	return result;
}

REPLACE(int, socket, "socket", int family, int type, int protocol)
{
	const enum call call = family == AF_UNIX ? CALL_socket_unix : CALL_socket_inet;

	return fails(call, CALLER) ? -1 : next_socket()(family, type, protocol);
}

REPLACE(ssize_t, recv, "recv", int fd, void *buffer, size_t bytes, int flags)
{
	const enum verdict v = decide(CALL_recv, CALLER, waits(fd, flags));

	return v == VERDICT_FAIL ? -1
				 : next_recv()(fd, buffer, v == VERDICT_SHORT ? 1 : bytes, flags);
}

REPLACE(ssize_t, recvfrom, "recvfrom", int fd, void *buffer, size_t bytes, int flags,
	struct sockaddr *address, socklen_t *address_bytes)
{
	return fails_if(waits(fd, flags), CALL_recvfrom, CALLER)
		       ? -1
		       : next_recvfrom()(fd, buffer, bytes, flags, address, address_bytes);
}

REPLACE(ssize_t, send, "send", int fd, const void *buffer, size_t bytes, int flags)
{
	const enum verdict v =
		decide(fd == STDERR_FILENO ? CALL_send_log : CALL_send, CALLER, waits(fd, flags));

	if (v == VERDICT_FAIL) {
		if (!(flags & MSG_NOSIGNAL))
			break_pipe();
		return -1;
	}
	return next_send()(fd, buffer, v == VERDICT_SHORT ? 1 : bytes, flags);
}

/* libmicrohttpd's, which tells that a part was sent from the number. */
REPLACE(ssize_t, sendmsg, "sendmsg", int fd, const struct msghdr *message, int flags)
{
	if (fails_if(waits(fd, flags), CALL_sendmsg, CALLER)) {
		if (!(flags & MSG_NOSIGNAL))
			break_pipe();
		return -1;
	}
	return next_sendmsg()(fd, message, flags);
}

REPLACE(ssize_t, sendto, "sendto", int fd, const void *buffer, size_t bytes, int flags,
	const struct sockaddr *address, socklen_t address_bytes)
{
	struct sockaddr_un stand_in;

	if (fails_if(waits(fd, flags), CALL_sendto, CALLER))
		return -1;
	return next_sendto()(fd, buffer, bytes, flags, in_place_of_syslog(address, &stand_in),
			     address_bytes);
}

static enum verdict decide_read(int fd, const void *caller)
{
	const unsigned char what = descriptor(fd);

	return decide(what == FD_EVENT    ? CALL_read_bell
		      : what == FD_SIGNAL ? CALL_read_signal
		      : what == FD_PIPE   ? CALL_read_pipe
					  : CALL_read_file,
		      caller, what == FD_OTHER || waits(fd, 0));
}

REPLACE(ssize_t, read, "read", int fd, void *buffer, size_t bytes)
{
	const enum verdict v = decide_read(fd, CALLER);

	return v == VERDICT_FAIL ? -1 : next_read()(fd, buffer, v == VERDICT_SHORT ? 1 : bytes);
}

/* What _FORTIFY_SOURCE makes of it. */
REPLACE(ssize_t, read_chk, "__read_chk", int fd, void *buffer, size_t bytes, size_t room)
{
	const enum verdict v = decide_read(fd, CALLER);

	return v == VERDICT_FAIL
		       ? -1
		       : next_read_chk()(fd, buffer, v == VERDICT_SHORT ? 1 : bytes, room);
}

static ssize_t write_bell(ssize_t (*next)(int, const void *, size_t), int fd, const void *buffer,
			  size_t bytes, const void *caller)
{
	if (!fails_if(waits(fd, 0), CALL_write_bell, caller))
		return next(fd, buffer, bytes);
	if (inject_error() == EAGAIN) {
		next(fd, buffer, bytes);
		errno = EAGAIN;
	}
	return -1;
}

REPLACE(ssize_t, write, "write", int fd, const void *buffer, size_t bytes)
{
	enum verdict v;

	if (descriptor(fd) == FD_EVENT)
		return write_bell(next_write(), fd, buffer, bytes, CALLER);
	v = decide(CALL_write_log, CALLER, waits(fd, 0));
	if (v == VERDICT_FAIL) {
		break_pipe();
		return -1;
	}
	return next_write()(fd, buffer, v == VERDICT_SHORT ? 1 : bytes);
}

REPLACE(int, open, "open64", const char *path, int flags, ...)
{
	enum call call = CALL_open_file;
	va_list arguments;
	mode_t mode;

	va_start(arguments, flags);
	mode = flags & O_CREAT ? va_arg(arguments, mode_t) : 0;
	va_end(arguments);
	if (strcmp(path, "/dev/null") == 0)
		call = CALL_open_null;
	else if (strncmp(path, "/proc/self/fd/", strlen("/proc/self/fd/")) == 0)
		call = CALL_open_log;
	/* Of a pipe or a terminal O_NONBLOCK has it not wait, of a file nothing does. */
	return fails_if(call == CALL_open_file || !(flags & O_NONBLOCK), call, CALLER)
		       ? -1
		       : next_open()(path, flags, mode);
}

REPLACE(ssize_t, readlink, "readlink", const char *path, char *target, size_t bytes)
{
	return fails(CALL_readlink, CALLER) ? -1 : next_readlink()(path, target, bytes);
}

REPLACE(DIR *, opendir, "opendir", const char *path)
{
	return fails(CALL_opendir, CALLER) ? NULL : next_opendir()(path);
}

REPLACE(FILE *, fopen, "fopen64", const char *path, const char *mode)
{
	return fails(CALL_fopen, CALLER) ? NULL : next_fopen()(path, mode);
}

REPLACE(char *, fgets, "fgets", char *line, int bytes, FILE *file)
{
	return fails(CALL_fgets, CALLER) ? NULL : next_fgets()(line, bytes, file);
}

REPLACE(int, fclose, "fclose", FILE *file)
{
	const enum verdict v = inject_decide(CALL_fclose, CALLER);
	int result = next_fclose()(file);

	if (v != VERDICT_FAIL)
		return result;
	errno = inject_error();
	return EOF;
}

REPLACE(int, pipe2, "pipe2", int ends[2], int flags)
{
	int result = fails(CALL_pipe2, CALLER) ? -1 : next_pipe2()(ends, flags);

	if (result == 0)
		note_descriptor(ends[0], FD_PIPE);
	return result;
}

REPLACE(int, poll, "poll", struct pollfd *fds, nfds_t count, int ms)
{
	return fails(CALL_poll, CALLER) ? -1 : next_poll()(fds, count, ms);
}

/* What _FORTIFY_SOURCE makes of it. */
REPLACE(int, poll_chk, "__poll_chk", struct pollfd *fds, nfds_t count, int ms, size_t room)
{
	return fails(CALL_poll, CALLER) ? -1 : next_poll_chk()(fds, count, ms, room);
}

REPLACE(int, pthread_attr_init, "pthread_attr_init", pthread_attr_t *attributes)
{
	return fails(CALL_pthread_attr_init, CALLER) ? inject_error()
						     : next_pthread_attr_init()(attributes);
}

REPLACE(int, pthread_create, "pthread_create", pthread_t *thread, const pthread_attr_t *attributes,
	void *(*body)(void *), void *argument)
{
	return fails(CALL_pthread_create, CALLER)
		       ? inject_error()
		       : next_pthread_create()(thread, attributes, body, argument);
}

REPLACE(int, sched_setscheduler, "sched_setscheduler", pid_t pid, int policy,
	const struct sched_param *param)
{
	return fails(CALL_sched_setscheduler, CALLER)
		       ? -1
		       : next_sched_setscheduler()(pid, policy, param);
}

REPLACE(int, sched_getaffinity, "sched_getaffinity", pid_t pid, size_t bytes, cpu_set_t *set)
{
	return fails(CALL_sched_getaffinity, CALLER) ? -1
						     : next_sched_getaffinity()(pid, bytes, set);
}

REPLACE(int, setrlimit, "setrlimit64", int resource, const struct rlimit *limit)
{
	return fails(CALL_setrlimit, CALLER) ? -1 : next_setrlimit()(resource, limit);
}

REPLACE(pid_t, waitpid, "waitpid", pid_t pid, int *status, int options)
{
	return fails_if(!(options & WNOHANG), CALL_waitpid, CALLER)
		       ? -1
		       : next_waitpid()(pid, status, options);
}
