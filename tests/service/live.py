"""What tests of a server under way share: sources and networks of clients, threads, programs."""

import ctypes
import os
import select
import threading

import pytest

from clients import Client, dial
from harness import seconds

CLONE_NEWNET = 0x40000000


def threads_beside_workers(server):
    """How many threads the program has that are no workers; a sanitizer may add one."""
    return server.threads() - server.limits["workers"]


def client_from(server, source, address=None):
    """A new client whose own address is source; it is closed when the test ends."""
    return server.hold(Client(dial(address or server.address, seconds(20), source)))


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
    return pytest.skip(f"{name} is not installed")
