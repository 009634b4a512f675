"""log.target = "syslog": in a mount namespace whose /dev has a log socket of the test's own."""

import os
import re
import socket

import pytest

from clients import Crowd
from harness import (assert_prompt, configuration, error_lines, needs_root, run_program, seconds,
                     unshared, wait_for)

pytestmark = needs_root

SETTINGS = {"log.target": "syslog", "log.connections": True}
PRIORITY_OF_INFO = 3 * 8 + 6  # LOG_DAEMON | LOG_INFO


def with_dev_log(path):
    """A command prefix: /dev has only null, and log, which leads to path."""
    return unshared("--mount", "mount -t tmpfs tmpfs /dev; mknod -m 666 /dev/null c 1 3; "
                               f"ln -s {path} /dev/log")


@pytest.fixture
def syslog(short_path):
    """The socket that a syslog daemon would read, and its path."""
    path = short_path / "log"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(path))
        sock.settimeout(seconds(10))
        yield sock, path


def start_with(start, path):
    """A ready server that logs to path. Its socket for that comes after its ready line on stderr,
    so the descriptors counted then are not those it must end with.
    """
    server = start(SETTINGS, wrapper=with_dev_log(path))
    server.first_descriptors = None
    return server


def serve(server):
    for _ in range(4):
        crowd = Crowd(server.address, 100)
        crowd.exchange()
        assert_prompt([server.connect()])
        crowd.close()
    server.close_clients()
    server.assert_idle()


def test_lines_come_with_priority_and_name(start, syslog):
    sock, path = syslog
    server = start_with(start, path)
    datagram = sock.recv(4096).decode()
    assert re.match(rf"<{PRIORITY_OF_INFO}>.*\bechopool(\[{server.pid}\])?: .*ready on ", datagram)
    client = server.connect()
    client.echo()
    assert f"connection accepted peer={client.name}" in sock.recv(4096).decode()


def test_stderr_gets_the_ready_line_and_nothing_after_it(start, syslog):
    sock, path = syslog
    server = start_with(start, path)
    assert "ready on" in sock.recv(4096).decode()  # from here on it logs there
    client = server.connect()
    client.echo()
    client.close()
    server.stop()
    lines = server.log.matching()
    assert len(lines) == 1 and lines[0].startswith("info: ready on "), lines


def test_a_refused_start_is_told_on_stderr(syslog, tmp_path):
    sock, path = syslog
    with socket.create_server(("127.0.0.1", 0)) as other:
        file = tmp_path / "echopool.conf"
        file.write_text(configuration(SETTINGS | {"listen.addresses": ["127.0.0.1"],
                                                  "listen.port": other.getsockname()[1]}))
        result = run_program("-c", file, wrapper=with_dev_log(path))
    assert result.returncode == 1
    [line] = [line for line in error_lines(result) if line.startswith("error:")]
    assert "in use" in line


def test_a_missing_dev_log_is_told_and_does_not_stop_the_service(start, tmp_path):
    server = start_with(start, tmp_path / "nothing")
    server.log.wait("^warning: .*/dev/log")
    serve(server)
    assert len(server.log.matching("^warning:")) == 1


def test_a_dev_log_that_nobody_reads_does_not_slow_the_service(start, syslog):
    server = start_with(start, syslog[1])
    serve(server)
    assert not server.log.matching("^warning:")


def test_a_restarted_syslog_daemon_is_found_again(start, syslog):
    sock, path = syslog
    server = start_with(start, path)
    assert "ready on" in sock.recv(4096).decode()
    sock.close()
    os.unlink(path)
    server.connect().echo()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as again:
        again.bind(str(path))
        again.settimeout(seconds(10))
        name = server.connect().name
        received = []
        wait_for(lambda: received.append(again.recv(4096).decode()) or name in received[-1])


# --- a daemon that listens on a stream instead, where a NUL ends each line


class Daemon:
    """A syslog daemon's listening stream, and the lines that have come."""

    def __init__(self, path):
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(str(path))
        self.listener.listen(1)
        self.listener.settimeout(seconds(10))
        self.connection = None
        self.text = ""

    def wait(self, pattern):
        """Reads until a line has the pattern; returns the lines so far."""
        if self.connection is None:
            self.connection = self.listener.accept()[0]
            self.connection.settimeout(seconds(10))
        while not any(re.search(pattern, line) for line in self.text.split("\0")[:-1]):
            part = self.connection.recv(65536)
            assert part, "the connection ended"
            self.text += part.decode()
        return self.text.split("\0")[:-1]

    def close(self):
        if self.connection is not None:
            self.connection.close()
        self.listener.close()


@pytest.fixture
def daemon(short_path):
    """A function that starts a daemon at the path, which replaces the one before."""
    path = short_path / "log"
    made = []

    def start_daemon():
        path.unlink(missing_ok=True)
        made.append(Daemon(path))
        return made[-1], path

    yield start_daemon
    for one in made:
        one.close()


def test_a_daemon_that_listens_on_a_stream_gets_the_lines(start, daemon):
    one, path = daemon()
    server = start_with(start, path)
    lines = one.wait("ready on ")
    assert re.match(rf"<{PRIORITY_OF_INFO}>.*\bechopool\[{server.pid}\]: .*ready on ", lines[0])
    client = server.connect()
    client.echo()
    lines = one.wait(f"connection accepted peer={client.name} ")
    assert all(line.startswith("<") and "\n" not in line for line in lines), lines
    assert not server.log.matching("^warning:")


def test_a_restarted_daemon_on_a_stream_is_found_again(start, daemon):
    one, path = daemon()
    server = start_with(start, path)
    one.wait("ready on ")
    one.close()
    server.connect().echo()
    again, _ = daemon()
    client = server.connect()
    client.echo()
    again.wait(f"connection accepted peer={client.name} ")
    again.close()
    path.unlink()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagrams:
        datagrams.bind(str(path))
        datagrams.settimeout(seconds(10))
        client = server.connect()
        client.echo()
        while client.name not in datagrams.recv(4096).decode():
            pass


def test_a_stream_that_nobody_reads_does_not_slow_the_service(start, daemon):
    one, path = daemon()
    server = start_with(start, path)
    one.wait("ready on ")
    serve(server)
    serve(server)
    one.wait("log lines before this could not be written|connection closed")


def test_a_daemon_that_accepts_nobody_does_not_slow_the_service(start, daemon):
    """Its backlog is full before the server comes."""
    one, path = daemon()
    waiting = [socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) for _ in range(2)]
    for sock in waiting:
        sock.connect(str(path))
    server = start_with(start, path)
    serve(server)
    for sock in waiting:
        one.listener.accept()[0].close()
        sock.close()
    client = server.connect()
    client.echo()
    one.wait(f"connection accepted peer={client.name} ")
    assert "could not be written" in one.text
