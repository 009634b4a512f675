"""Reload under systemd: what is notified, and sockets that were handed over."""

import re
import select
import signal
import socket
import subprocess
import time

import pytest

from harness import without_file
from live import needs_program
from test_systemd import NotifySocket, handing_over, has_systemd


@pytest.fixture(autouse=True)
def systemd():
    if not has_systemd():
        pytest.skip("needs a build with systemd")


class Notifications(NotifySocket):
    """Notifications one by one."""

    def next(self):
        return self.sock.recv(4096).decode().splitlines()

    def nothing_more(self):
        return not select.select([self.sock], [], [], 0)[0]


@pytest.fixture
def manager(short_path):
    """The service manager's end."""
    made = Notifications(str(short_path / "notify"))
    yield made
    made.sock.close()


@pytest.fixture
def notified(start, manager):
    """A server that tells the manager; its start has been told already."""
    server = start({"pool.workers": 1}, env={"NOTIFY_SOCKET": manager.name})
    assert "READY=1" in manager.next()
    return server


def monotonic_usec(lines):
    """The moment that a notification tells, in microseconds."""
    [line] = [line for line in lines if line.startswith("MONOTONIC_USEC=")]
    return int(line.split("=")[1])


def check_reloading(lines, since):
    """This is RELOADING=1 with a moment between since and now, on the clock that systemd uses."""
    assert "RELOADING=1" in lines and "READY=1" not in lines
    assert since <= monotonic_usec(lines) * 1000 <= time.clock_gettime_ns(time.CLOCK_MONOTONIC)


@pytest.mark.parametrize("text, workers", [("pool: { workers = 3; };", 3),
                                           ("pool: { wrokers = 3; };", 1)])
def test_a_reload_is_told_when_it_begins_and_when_it_is_over(notified, manager, text, workers):
    server = notified
    listen = 'listen: { addresses = [ "127.0.0.1" ]; port = 0; };\n'
    server.file.write_text(listen + text)
    since = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000 * 1000
    server.reload()
    check_reloading(manager.next(), since)
    ready = manager.next()
    assert "READY=1" in ready
    [status] = [line for line in ready if line.startswith("STATUS=")]
    assert f"workers={workers} " in status and f"127.0.0.1:{server.address[1]};" in status
    assert manager.nothing_more()


def test_each_reloading_is_followed_by_ready(notified, manager):
    told = []
    for i in range(20):
        notified.configure({"pool.workers": 1 + i % 2})
        for _ in range(5):
            notified.send_signal(signal.SIGHUP)
        told += [manager.next()[0], manager.next()[0]]
    notified.send_signal(signal.SIGTERM)
    while told[-1] != "STOPPING=1":
        told.append(manager.next()[0])
    reloads = (len(told) - 1) // 2
    assert told[:2 * reloads] == ["RELOADING=1", "READY=1"] * reloads
    assert notified.wait_exit() == 0


def test_without_a_file_no_reload_is_told(start, manager):
    server = start(env={"NOTIFY_SOCKET": manager.name}, **without_file(nohup=True))
    assert "READY=1" in manager.next()
    server.send_signal(signal.SIGHUP)
    server.log.wait("^warning: SIGHUP")
    assert manager.nothing_more()


def backlog_of(server):
    said = subprocess.run([needs_program("ss"), "-ltnH", f"sport = :{server.address[1]}"],
                          capture_output=True, text=True, timeout=20, check=True).stdout
    return int(said.split()[2])


def test_sockets_that_were_handed_over_stay_and_a_changed_listen_is_told(start):
    listen = {"listen.addresses": ["127.0.0.8"], "listen.port": 7, "listen.backlog": 100}
    with socket.create_server(("127.0.0.1", 0), backlog=77) as sock:
        server = start(listen | {"pool.workers": 1}, **handing_over(sock))
    client = server.connect()
    client.echo()
    addresses, descriptors = server.addresses, server.descriptors()
    queue_limit = server.limits["queue_limit"]
    changed = {"listen.addresses": ["127.0.0.9"], "listen.port": 8, "listen.backlog": 200}
    lines = server.reload(changed | {"pool.workers": 1, "pool.queue_limit": 7})
    for path in changed:
        assert any(re.match(f"warning: reload: {path} changed, .*systemd", line)
                   for line in lines), lines
    assert [line for line in lines if "changed from" in line] == [
        f"info: reload: pool.queue_limit changed from {queue_limit} to 7"]
    assert (server.addresses, server.descriptors()) == (addresses, descriptors)
    assert backlog_of(server) == 77
    client.echo()
    server.connect().echo()


def test_an_unchanged_listen_is_not_mentioned(start):
    with socket.create_server(("127.0.0.1", 0), backlog=77) as sock:
        server = start({"pool.workers": 1}, **handing_over(sock))
    lines = server.reload({"pool.workers": 2})
    assert not any("listen." in line for line in lines)
    assert server.limits["workers"] == 2 and backlog_of(server) == 77
    server.connect().echo()


def test_the_child_has_nothing_of_systemd(start, manager):
    """Neither the sockets nor the notifications are meant for the process that reads the file."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        server = start({"pool.workers": 1}, env={"NOTIFY_SOCKET": manager.name},
                       **handing_over(sock))
    server.reload({"pool.workers": 2})
    assert [manager.next()[0] for _ in range(3)] == ["READY=1", "RELOADING=1", "READY=1"]
    assert manager.nothing_more()
    server.connect().echo()
