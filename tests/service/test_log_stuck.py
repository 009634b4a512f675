"""A log whose reader is gone or stuck, or whose disk is full, does not slow the service."""

import fcntl
import os
import pty
import re
import socket

import pytest

from clients import Crowd
from harness import PLAIN, wait_for

CONNECTIONS = 1500  # two lines each: several times what a pipe or a socket buffer holds


class Reader:
    """A descriptor for the program's stderr, and the other side of it, which nobody reads."""

    def __init__(self, kind):
        if kind == "pipe":
            self.ours, self.theirs = os.pipe()
        elif kind == "terminal":
            self.ours, self.theirs = pty.openpty()
        else:
            self.pair = socket.socketpair()
            self.ours, self.theirs = (end.detach() for end in self.pair)

    def drain(self):
        """Everything that can be read now."""
        os.set_blocking(self.ours, False)
        parts = []
        try:
            while part := os.read(self.ours, 65536):
                parts.append(part)
        except BlockingIOError:
            pass
        return b"".join(parts).decode()

    def close(self):
        for descriptor in (self.ours, self.theirs):
            if descriptor is not None:
                os.close(descriptor)


@pytest.fixture(params=["pipe", "terminal", "socket"])
def stuck(request):
    reader = Reader(request.param)
    yield reader
    reader.close()


def serve_many(server):
    """Connections that are logged, and a look at how long a client waits meanwhile."""
    for _ in range(3):
        crowd = Crowd(server.address, CONNECTIONS // 3)
        crowd.exchange()
        elapsed = server.connect().echo()
        assert not PLAIN or elapsed < 0.2
        crowd.close()
    server.close_clients()
    wait_for(lambda: len(server.descriptors()) == len(server.first_descriptors))
    server.assert_idle()


def test_nobody_reads_the_log(launch, stuck):
    server = launch({"log.connections": True}, stderr=stuck.theirs).wait_listening()
    serve_many(server)
    assert not fcntl.fcntl(stuck.theirs, fcntl.F_GETFL) & os.O_NONBLOCK
    held_back = stuck.drain().splitlines()
    assert held_back[0].startswith("info: ")
    assert all(re.match("(info|warning): .*", line) for line in held_back), held_back[-1]
    server.connect().echo()
    later = []
    wait_for(lambda: later.append(stuck.drain()) or "connection accepted" in "".join(later),
             what="the log goes on once it is read")
    wait_for(lambda: later.append(stuck.drain()) or re.search(r"warning: \d+ ", "".join(later)),
             what="a line that tells how many were lost")


def test_the_reader_of_the_log_is_gone(launch, stuck):
    server = launch({"log.connections": True}, stderr=stuck.theirs).wait_listening()
    os.close(stuck.ours)
    os.close(stuck.theirs)
    stuck.ours = stuck.theirs = None
    serve_many(server)


def test_the_reader_was_gone_before_the_start(launch):
    reader = Reader("pipe")
    os.close(reader.ours)
    reader.ours = None
    server = launch({"log.connections": True}, stderr=reader.theirs).wait_listening()
    reader.close()
    serve_many(server)


def test_the_disk_is_full(launch):
    with open("/dev/full", "wb") as full:
        server = launch({"log.connections": True}, stderr=full).wait_listening()
    serve_many(server)


def test_a_log_file_gets_whole_lines(launch, tmp_path):
    file = tmp_path / "log"
    with open(file, "wb") as log:
        server = launch({"log.connections": True}, stderr=log).wait_listening()
    serve_many(server)
    wait_for(lambda: file.read_text().count(" connection closed ") == CONNECTIONS + 3)
    assert all(line.startswith("info: ") for line in file.read_text().splitlines())
