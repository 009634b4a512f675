"""A log whose reader is gone or stuck, or whose disk is full, does not slow the service."""

import fcntl
import os
import pty
import re
import signal
import socket
from pathlib import Path

import pytest

from clients import Crowd
from harness import again_when_late, assert_prompt, check_time, needs_root, seconds, wait_for

NOBODY = 65534
CONNECTIONS = 1500  # two lines each: several times what a pipe or a socket buffer holds


class Reader:
    """A descriptor for the program's stderr, and the other side of it, which nobody reads."""

    def __init__(self, kind):
        if kind == "pipe":
            self.ours, self.theirs = os.pipe()
        elif kind == "terminal":
            try:
                self.ours, self.theirs = pty.openpty()
            except OSError as error:
                pytest.skip(f"needs a pseudo-terminal: {error}")
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
        assert_prompt([server.connect()])
        crowd.close()
    server.close_clients()
    wait_for(lambda: len(server.descriptors()) == len(server.first_descriptors))
    server.assert_idle()


def test_nobody_reads_the_log(launch, stuck):
    server = launch({"log.connections": True, "log.rate": 0}, stderr=stuck.theirs).wait_listening()
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


LOST = r"warning: (\d+) log lines before this could not be written"


def test_the_number_of_lost_lines_is_right(launch):
    """What came, and what it says was lost, are all the lines there were."""
    pipe = Reader("pipe")
    server = launch({"log.connections": True, "log.rate": 0}, stderr=pipe.theirs).wait_listening()
    serve_many(server)
    text = [pipe.drain()]
    client = server.connect()
    client.echo()
    name = client.name
    wait_for(lambda: text.append(pipe.drain()) or re.search(LOST, "".join(text)))
    server.close_clients()
    last = rf"connection closed peer={name} "
    wait_for(lambda: text.append(pipe.drain()) or re.search(last, "".join(text)))

    def came_and_lost():
        text.append(pipe.drain())
        lines = "".join(text).splitlines()
        lost = [int(match[1]) for line in lines if (match := re.search(LOST, line))]
        return len(lines) - len(lost), sum(lost)

    assert came_and_lost()[1] > 0
    # The ready line, and two for each connection: three of serve_many() and one at the end. A
    # worker may write the line of an earlier connection later than the other that of the last.
    wait_for(lambda: sum(came_and_lost()) >= 1 + 2 * (CONNECTIONS + 4), what="every line")
    assert sum(came_and_lost()) == 1 + 2 * (CONNECTIONS + 4)
    pipe.close()


@needs_root
@again_when_late
def test_a_terminal_that_cannot_be_opened_anew(launch, public_program):
    """Somebody else's, as under su: nobody reads it, and its mode must stay as it is."""
    terminal = Reader("terminal")
    os.fchmod(terminal.theirs, 0o600)
    name = os.ttyname(terminal.theirs)
    server = launch({"log.connections": True, "log.rate": 0}, stderr=terminal.theirs,
                    program=public_program,
                    directory=Path(public_program).parent, user=NOBODY, group=NOBODY,
                    extra_groups=[]).wait_listening()
    assert [number for number, held in server.descriptors().items() if held == name] == [2]
    serve_many(server)
    assert not fcntl.fcntl(terminal.theirs, fcntl.F_GETFL) & os.O_NONBLOCK
    took = server.stop()
    assert terminal.drain().startswith("info: ready on ")
    terminal.close()
    check_time(took, seconds(2))


def test_the_reader_of_the_log_is_gone(launch, stuck):
    server = launch({"log.connections": True, "log.rate": 0}, stderr=stuck.theirs).wait_listening()
    os.close(stuck.ours)
    os.close(stuck.theirs)
    stuck.ours = stuck.theirs = None
    serve_many(server)


def test_the_reader_was_gone_before_the_start(launch):
    reader = Reader("pipe")
    os.close(reader.ours)
    reader.ours = None
    server = launch({"log.connections": True, "log.rate": 0}, stderr=reader.theirs).wait_listening()
    reader.close()
    serve_many(server)


def test_the_disk_is_full(launch):
    with open("/dev/full", "wb") as full:
        server = launch({"log.connections": True, "log.rate": 0}, stderr=full).wait_listening()
    serve_many(server)


def test_a_log_file_gets_whole_lines(launch, memory_file):
    with open(memory_file, "wb") as log:
        server = launch({"log.connections": True, "log.rate": 0}, stderr=log).wait_listening()
    serve_many(server)
    wait_for(lambda: memory_file.read_text().count(" connection closed ") == CONNECTIONS + 3)
    assert all(line.startswith("info: ") for line in memory_file.read_text().splitlines())


@pytest.mark.parametrize("mode", ["wb", "ab"])
def test_a_log_file_that_is_truncated_begins_with_a_line(launch, tmp_path, mode):
    """logrotate's copytruncate; > and >> of the shell."""
    file = tmp_path / "log"
    with open(file, mode) as log:
        server = launch(stderr=log).wait_listening()
    wait_for(lambda: "ready on" in file.read_text())
    for _ in range(2):
        os.truncate(file, 0)
        server.send_signal(signal.SIGUSR1)
        wait_for(lambda: "info: reload applied=" in file.read_text())
        assert file.read_bytes().startswith(b"info: ")
