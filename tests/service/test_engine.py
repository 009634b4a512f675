"""pool.engine: which engine runs, what is told where io_uring is refused, and what a reload does.

That both keep every promise is for the other tests, which .ci/run repeats with ECHOPOOL_ENGINE.
"""

import errno
import os
import re

import pytest

from harness import MISSING, exec_wrapper

# A filter (seccomp(2)) under which io_uring_setup, number 425 everywhere, fails with this errno.
REFUSING = """
import ctypes, struct
rules = [(0x20, 0, 0, 0), (0x15, 0, 1, 425), (6, 0, 0, 0x50000 | {error}), (6, 0, 0, 0x7fff0000)]
code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *rule) for rule in rules))
program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(rules), ctypes.addressof(code)))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0  # PR_SET_NO_NEW_PRIVS
assert libc.prctl(22, 2, program, 0, 0) == 0  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER
"""


# One MiB of locked memory, and no right to more, whoever runs the test.
LITTLE_LOCKED = """
import ctypes, resource
ctypes.CDLL(None).prctl(24, 14, 0, 0, 0)  # PR_CAPBSET_DROP, CAP_IPC_LOCK
resource.setrlimit(resource.RLIMIT_MEMLOCK, (2**20, 2**20))
"""


def rings(server):
    """How many rings of io_uring the server has open."""
    return sum("io_uring" in name for name in server.descriptors().values())


def start_uring(start, settings=None):
    """A server with io_uring, or the test is skipped where that does not work."""
    server = start({"pool.workers": 3, **(settings or {})}, overrides=['pool.engine="io_uring"'])
    if server.limits["engine"] != "io_uring":
        pytest.skip(MISSING + server.log.matching("io_uring")[0])
    return server


def test_io_uring_runs_where_it_is_asked_for_and_works(start):
    server = start_uring(start)
    assert rings(server) == 3 and not server.log.matching("warning: pool.engine")
    server.connect().echo()


def test_auto_is_epoll(start):
    server = start({"pool.workers": 2}, overrides=['pool.engine="auto"'])
    assert server.limits["engine"] == "epoll" and rings(server) == 0


@pytest.mark.parametrize("error", [errno.EPERM, errno.ENOSYS])
def test_where_it_is_refused_epoll_runs_and_one_line_says_why(start, error):
    server = start(wrapper=exec_wrapper(REFUSING.format(error=error)),
                   overrides=['pool.engine="io_uring"'])
    [line] = server.log.matching("pool.engine")
    assert re.match('warning: pool.engine is "io_uring", which does not work here: ', line)
    assert {errno.EPERM: "not permitted", errno.ENOSYS: "not implemented"}[error] in line
    assert server.limits["engine"] == "epoll" and rings(server) == 0
    server.connect().echo()


def test_workers_for_which_locked_memory_does_not_suffice_use_epoll(start):
    server = start({"pool.workers": 2}, wrapper=exec_wrapper(LITTLE_LOCKED),
                   overrides=['pool.engine="io_uring"'])
    if server.limits["engine"] != "io_uring":
        pytest.skip(MISSING + server.log.matching("io_uring")[0])
    server.reload({"pool.workers": 64})
    if rings(server) == 64:
        pytest.skip(MISSING + "a kernel that counts rings as locked memory")
    [line] = server.log.matching("use epoll")
    assert line.startswith(f"warning: worker {rings(server)} and those after it use epoll: "
                           f"io_uring: {os.strerror(errno.ENOMEM)}; raise the limit on locked")
    clients = [server.connect() for _ in range(64)]
    for client in clients:
        client.echo()
    assert len(server.figures()[0]) == 64


def test_a_reload_says_that_it_takes_effect_at_a_start(start):
    server = start({"pool.engine": "epoll"})
    lines = server.reload({"pool.engine": "io_uring"})
    assert any("pool.engine takes effect when the server is started" in line for line in lines)
    assert rings(server) == 0
    assert not any("pool.engine" in line for line in server.reload())


def test_workers_that_come_with_a_reload_have_the_same_engine(start):
    server = start_uring(start)
    server.reload({"pool.workers": 5})
    assert rings(server) == 5
    server.reload({"pool.workers": 1})
    assert rings(server) == 1
    server.connect().echo()
