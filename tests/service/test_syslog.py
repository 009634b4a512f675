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
