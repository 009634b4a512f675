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

/* With SLOW_RECV: every hundredth call takes 5 ms. */
ssize_t recv(int fd, void *buffer, size_t bytes, int flags)
{
    static int calls;

    if (getenv("SLOW_RECV") && ++calls % 100 == 0)
        nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
    return syscall(SYS_recvfrom, fd, buffer, bytes, flags, NULL, NULL);
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
