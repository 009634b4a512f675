"""log.target = "syslog": in a mount namespace whose /dev has a log socket of the test's own."""

import os
import re
import socket

import pytest

from clients import Crowd
from harness import PLAIN, needs_root, seconds, unshared, wait_for

pytestmark = needs_root

SETTINGS = {"log.target": "syslog", "log.connections": True}
PRIORITY_OF_INFO = 3 * 8 + 6  # LOG_DAEMON | LOG_INFO


def with_dev_log(path):
    """A command prefix: /dev has only null, and log, which leads to path."""
    return unshared("--mount", "mount -t tmpfs tmpfs /dev; mknod -m 666 /dev/null c 1 3; "
                               f"ln -s {path} /dev/log")


@pytest.fixture
def syslog(tmp_path):
    """The socket that a syslog daemon would read, and its path."""
    path = tmp_path / "log.socket"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(path))
        sock.settimeout(seconds(10))
        yield sock, path


def serve(server):
    for _ in range(4):
        crowd = Crowd(server.address, 100)
        crowd.exchange()
        elapsed = server.connect().echo()
        assert not PLAIN or elapsed < 0.2
        crowd.close()
    server.close_clients()
    server.assert_idle()


def test_lines_come_with_priority_and_name(launch, syslog):
    sock, path = syslog
    server = launch(SETTINGS, wrapper=with_dev_log(path)).wait_listening()
    datagram = sock.recv(4096).decode()
    assert re.match(rf"<{PRIORITY_OF_INFO}>.*\bechopool(\[{server.pid}\])?: .*ready on ", datagram)
    assert not server.log.matching("ready on ")
    client = server.connect()
    client.echo()
    assert f"connection accepted peer={client.name}" in sock.recv(4096).decode()


def test_a_missing_dev_log_does_not_stop_the_service(launch, tmp_path):
    serve(launch(SETTINGS, wrapper=with_dev_log(tmp_path / "nothing")).wait_listening())


def test_a_dev_log_that_nobody_reads_does_not_slow_the_service(launch, syslog):
    serve(launch(SETTINGS, wrapper=with_dev_log(syslog[1])).wait_listening())


def test_a_restarted_syslog_daemon_is_found_again(launch, syslog):
    sock, path = syslog
    server = launch(SETTINGS, wrapper=with_dev_log(path)).wait_listening()
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
