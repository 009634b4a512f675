"""What several test files share: clients, their sources and networks, limits, settings."""

import ctypes
import os
import select
import threading

import pytest

from clients import Client, dial
from harness import MISSING, exec_wrapper, run_program, seconds

CLONE_NEWNET = 0x40000000


def threads_beside_workers(server):
    """How many threads the program has that are no workers; a sanitizer may add one."""
    return server.threads() - server.limits["workers"]


def client_from(server, source, address=None):
    """A new client whose own address is source; it is closed when the test ends."""
    return server.hold(Client(dial(address or server.address, seconds(20), source)))


def served(server, address=None):
    """A new client that has been echoed."""
    client = server.connect(address)
    client.echo()
    return client


def limited_to(count):
    """A command prefix that sets both descriptor limits."""
    return exec_wrapper("import resource as r; "
                        f"r.setrlimit(r.RLIMIT_NOFILE, ({count}, {count}))")


def printed(*arguments):
    """What -T prints, as {path: value}."""
    result = run_program("-T", *arguments)
    assert result.returncode == 0 and result.stderr == "", result.stderr
    return dict(line.split("=", 1) for line in result.stdout.splitlines())


def is_closed(client, within=0.0):
    """True when the server ends this connection, with no byte before, within so many seconds."""
    poll = select.poll()  # the descriptor may be too large for select
    poll.register(client.sock, select.POLLIN)
    if not poll.poll(within * 1000):
        return False
    client.expect_closed()
    return True


def in_network_of(pid, function):
    """Calls function in the network namespace of another process; sockets it makes stay there."""
    outcome = {}

    def enter_and_call():
        try:
            with open(f"/proc/{pid}/ns/net", encoding="ascii") as namespace:
                libc = ctypes.CDLL(None, use_errno=True)
                if libc.setns(namespace.fileno(), CLONE_NEWNET) != 0:
                    raise OSError(ctypes.get_errno(), "setns")
            outcome["value"] = function()
        except (OSError, AssertionError) as failure:
            outcome["failure"] = failure

    # The namespace is the thread's alone, and goes with it.
    thread = threading.Thread(target=enter_and_call)
    thread.start()
    thread.join()
    if "failure" in outcome:
        raise outcome["failure"]
    return outcome["value"]


def needs_program(name):
    """Skips the test where a program is missing; returns its path."""
    for directory in (*os.environ.get("PATH", "").split(":"), "/usr/sbin", "/sbin"):
        path = os.path.join(directory, name)
        if os.access(path, os.X_OK):
            return path
    return pytest.skip(MISSING + name)
