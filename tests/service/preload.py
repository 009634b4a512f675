"""Faults that come at one exact moment: a small library put before the C library's."""

import os
import shutil
import subprocess

import pytest

from harness import MISSING, PLAIN

# Each of them is armed by a variable of the environment.
SOURCE = r"""
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Fails the EPOLL_CTL_ADD whose number is in FAIL_EPOLL_ADD; the first is 1. */
int epoll_ctl(int set, int operation, int fd, struct epoll_event *event)
{
    static int adds;
    const char *number = getenv("FAIL_EPOLL_ADD");

    if (operation == EPOLL_CTL_ADD && number &&
        __atomic_add_fetch(&adds, 1, __ATOMIC_SEQ_CST) == atoi(number)) {
        errno = ENOSPC;
        return -1;
    }
    return (int)syscall(SYS_epoll_ctl, set, operation, fd, event);
}

/* Never returns when it has received what HANG_IN_RECV says. */
ssize_t recv(int fd, void *buffer, size_t bytes, int flags)
{
    const ssize_t n = syscall(SYS_recvfrom, fd, buffer, bytes, flags, NULL, NULL);
    const char *word = getenv("HANG_IN_RECV");

    while (word && n >= (ssize_t)strlen(word) && memcmp(buffer, word, strlen(word)) == 0)
        pause();
    return n;
}

/* Raises the signal in SIGNAL_AT_OPEN, once, when a file whose name ends in .conf is opened. */
static void raise_once(const char *path)
{
    const char *number = getenv("SIGNAL_AT_OPEN");
    const size_t length = strlen(path);
    int signal_number;

    if (!number || length <= 5 || strcmp(path + length - 5, ".conf") != 0)
        return;
    signal_number = atoi(number);
    unsetenv("SIGNAL_AT_OPEN");
    kill(getpid(), signal_number);
}

#define DEFINE_OPEN(name)                                            \
    int name(const char *path, int flags, ...)                       \
    {                                                                \
        va_list arguments;                                           \
        mode_t mode;                                                 \
                                                                     \
        va_start(arguments, flags);                                  \
        mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(arguments, mode_t) : 0; \
        va_end(arguments);                                           \
        raise_once(path);                                            \
        return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode); \
    }

DEFINE_OPEN(open)
DEFINE_OPEN(open64)

/* With MORE_CPUS: at the n-th call the process may use n CPUs. */
int sched_getaffinity(pid_t pid, size_t bytes, cpu_set_t *set)
{
    static int calls;

    CPU_ZERO_S(bytes, set); /* the kernel writes as many bytes as it has CPUs for */
    if (!getenv("MORE_CPUS"))
        return syscall(SYS_sched_getaffinity, pid, bytes, set) < 0 ? -1 : 0;
    calls++;
    for (int i = 0; i < calls; i++)
        CPU_SET_S(i, bytes, set);
    return 0;
}

static int prints;

__attribute__((constructor)) static void look_at_arguments(int count, char *arguments[])
{
    prints = count > 1 && strcmp(arguments[1], "-T") == 0;
}

/* With LINGER: a program that was to print its settings closes its outputs and does not end. */
__attribute__((destructor)) static void linger(void)
{
    if (!prints || !getenv("LINGER"))
        return;
    close(1);
    close(2);
    for (;;)
        pause();
}
"""


_built = {}  # by text: one that was made serves every test of this process


def build(directory, text=SOURCE):
    """Makes the library of this text; returns the environment that loads it, or skips the test."""
    if not PLAIN:
        pytest.skip("needs a build that nothing slows: sanitizers must be loaded first")
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if not compiler:
        pytest.skip(MISSING + "a C compiler")
    if text in _built:
        return _built[text]
    source = directory / "preload.c"
    source.write_text(text)
    library = directory / "preload.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, source], check=True)
    _built[text] = {"LD_PRELOAD": os.fspath(library)}
    return _built[text]
