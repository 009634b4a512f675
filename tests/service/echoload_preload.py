"""Faults of the system that the load generator meets, by a library before the C library's."""

import preload

# Each of them is armed by a variable of the environment.
SOURCE = r"""
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Sleeps for the microseconds in a variable of this name, if there is one. */
static void take_time(const char *variable)
{
    const char *us = getenv(variable);

    if (us)
        nanosleep(&(struct timespec){.tv_nsec = atol(us) * 1000}, NULL);
}

/* With SLOW_RECEIVE every call takes so many microseconds longer, with SLOW_100TH one in 100. */
ssize_t recvmsg(int fd, struct msghdr *message, int flags)
{
    static int calls;

    take_time("SLOW_RECEIVE");
    if (++calls % 100 == 0)
        take_time("SLOW_100TH");
    return syscall(SYS_recvmsg, fd, message, flags);
}

/* The same with SLOW_SEND and SLOW_SOCKET. */
ssize_t send(int fd, const void *buffer, size_t bytes, int flags)
{
    take_time("SLOW_SEND");
    return syscall(SYS_sendto, fd, buffer, bytes, flags, NULL, 0);
}

int socket(int family, int type, int protocol)
{
    take_time("SLOW_SOCKET");
    return (int)syscall(SYS_socket, family, type, protocol);
}

/* With NO_STAMPS the kernel tells no time of what comes in. */
int setsockopt(int fd, int level, int option, const void *value, socklen_t length)
{
    if (level == SOL_SOCKET && option == SO_TIMESTAMPNS && getenv("NO_STAMPS")) {
        errno = ENOPROTOOPT;
        return -1;
    }
    return (int)syscall(SYS_setsockopt, fd, level, option, value, length);
}

/* Fails with the errno value in NO_PWAIT2. */
int epoll_pwait2(int set, struct epoll_event *events, int most, const struct timespec *timeout,
                 const sigset_t *signals)
{
    const char *error = getenv("NO_PWAIT2");

    if (!error)
        return (int)syscall(SYS_epoll_pwait2, set, events, most, timeout, signals, _NSIG / 8);
    errno = atoi(error);
    return -1;
}
"""


def build(directory):
    """Makes the library, as preload.build() does."""
    return preload.build(directory, SOURCE)
