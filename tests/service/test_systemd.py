"""Being started by systemd: notifications, handed-over sockets, and the journal's prefixes."""

import contextlib
import os
import re
import select
import signal
import socket
import time

import pytest

import preload
from clients import Crowd
from harness import (UNIQUE, again_when_late, check_time, error_lines, exec_wrapper, run_program,
                     seconds, wait_for, without_file)
from server_sockets import TCP_NOTSENT_LOWAT, sockets


def has_systemd():
    return "+systemd" in run_program("-V").stdout


@pytest.fixture
def systemd():
    if not has_systemd():
        pytest.skip("needs a build with systemd")


@pytest.fixture
def no_systemd():
    if has_systemd():
        pytest.skip("needs a build without systemd")


class NotifySocket:
    """The service manager's end of sd_notify; abstract when the name starts with @."""

    def __init__(self, name):
        self.name = name
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind("\0" + name[1:] if name.startswith("@") else name)
        self.sock.settimeout(seconds(10))
        self.told = []

    def wait(self, line):
        """Receives until a line that starts so was told."""
        while not any(one.startswith(line) for one in self.told):
            self.told += self.sock.recv(4096).decode().splitlines()


@pytest.fixture(params=["path", "abstract"])
def notify(request, short_path):
    names = {"path": str(short_path / "notify"), "abstract": f"@echopool-test-{UNIQUE}"}
    listener = NotifySocket(names[request.param])
    yield listener
    listener.sock.close()


def test_ready_status_and_stopping_are_notified(start, notify):
    server = start({"timeouts.drain": 600}, env={"NOTIFY_SOCKET": notify.name})
    notify.wait("READY=1")
    notify.wait("STATUS=")
    assert not any(line.startswith("STOPPING") for line in notify.told)
    client = server.connect()
    client.echo()
    server.send_signal(signal.SIGTERM)
    notify.wait("STOPPING=1")
    client.echo()
    client.close()
    assert server.wait_exit() == 0


@pytest.mark.parametrize("name", ["nobody", "x" * 200])
def test_a_notify_socket_that_nobody_reads_does_no_harm(start, short_path, name):
    server = start(env={"NOTIFY_SOCKET": str(short_path / name)})
    server.log.wait("^warning: cannot tell systemd READY: ")
    server.connect().echo()


def test_a_manager_that_hangs_holds_nothing_up_for_long(start, notify):
    """systemd that no longer reads: its queue is full."""
    server = start({"timeouts.drain": 600}, env={"NOTIFY_SOCKET": notify.name})
    fill(notify)
    for _ in range(2):
        server.reload()
    client = server.connect()
    client.echo()
    assert server.log.matching("^warning: cannot tell systemd RELOADING: ")
    server.send_signal(signal.SIGTERM)
    server.log.wait("^warning: cannot tell systemd STOPPING: ")
    client.echo()
    client.close()
    assert server.wait_exit() == 0


def fill(notify):
    """Sends what fits into the manager's queue."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)
        sender.connect(notify.sock.getsockname())
        with contextlib.suppress(BlockingIOError):
            while True:
                sender.send(b"X=1")


def test_a_drain_asks_for_its_time(start, notify):
    """Longer than the manager would wait: TimeoutStopSec."""
    server = start({"timeouts.drain": 600}, env={"NOTIFY_SOCKET": notify.name})
    client = server.connect()
    client.echo()
    server.send_signal(signal.SIGTERM)
    notify.wait("EXTEND_TIMEOUT_USEC=605000000")
    assert "STOPPING=1" in notify.told
    client.close()
    assert server.wait_exit() == 0


WATCHDOG = {"WATCHDOG_USEC": "200000"}


def alive_after(notify, count):
    """How many seconds count times WATCHDOG=1 took."""
    begin = time.monotonic()
    for _ in range(count):
        notify.told.clear()
        notify.wait("WATCHDOG=1")
    return time.monotonic() - begin


def test_the_watchdog_is_told_at_half_its_time(start, notify):
    server = start({"timeouts.drain": 600}, env={"NOTIFY_SOCKET": notify.name} | WATCHDOG)
    notify.wait("WATCHDOG=1")
    assert alive_after(notify, 5) > 0.4  # each 0.1 s or, on a busy machine, later
    client = server.connect()
    client.echo()
    server.send_signal(signal.SIGTERM)
    notify.wait("STOPPING=1")
    alive_after(notify, 3)
    client.close()
    assert server.wait_exit() == 0


def test_the_watchdog_is_told_while_a_child_hangs(start, notify, tmp_path):
    env = preload.build(tmp_path) | {"LINGER": "1", "NOTIFY_SOCKET": notify.name} | WATCHDOG
    server = start(env=env)
    mark = server.log.mark()
    server.send_signal(signal.SIGHUP)
    notify.wait("RELOADING=1")
    alive_after(notify, 5)
    server.log.wait("2000 ms", start=mark)


def test_a_stopped_process_does_not_tell_the_watchdog(start, notify):
    server = start(env={"NOTIFY_SOCKET": notify.name} | WATCHDOG)
    notify.wait("WATCHDOG=1")
    server.suspend()
    while readable(notify.sock):
        notify.sock.recv(4096)
    assert not select.select([notify.sock], [], [], 0.5)[0]
    server.send_signal(signal.SIGCONT)
    alive_after(notify, 2)


@pytest.mark.parametrize("env", [{}, WATCHDOG | {"WATCHDOG_PID": "1"}, {"WATCHDOG_USEC": "0"},
                                 {"WATCHDOG_USEC": "never"}])
def test_a_watchdog_that_is_not_for_it_is_left_alone(start, notify, env):
    server = start({"timeouts.drain": 0.5}, env={"NOTIFY_SOCKET": notify.name} | env)
    client = server.connect()
    client.echo()
    server.send_signal(signal.SIGTERM)
    client.expect_closed()
    assert server.wait_exit() == 0
    while readable(notify.sock):
        notify.told += notify.sock.recv(4096).decode().splitlines()
    assert "STOPPING=1" in notify.told and "WATCHDOG=1" not in notify.told


def handing_over(*sockets, names=None):
    """A command prefix that gives these sockets to the program as systemd does: 3, 4, ...

    names are those of FileDescriptorName=, with colons between; as of an old systemd without.
    """
    named = f"os.environ['LISTEN_FDNAMES'] = '{names}'; " if names else ""
    numbers = [sock.fileno() for sock in sockets]
    return {"wrapper": exec_wrapper(
        "import fcntl\n"
        f"high = [fcntl.fcntl(n, fcntl.F_DUPFD_CLOEXEC, 100) for n in {numbers}]\n"
        "for i, n in enumerate(high): os.dup2(n, 3 + i)\n"
        f"{named}os.environ.update(LISTEN_FDS='{len(numbers)}', LISTEN_PID=str(os.getpid()))"),
        "pass_fds": numbers}


def test_a_handed_over_socket_is_served_and_named(systemd, start):
    with socket.create_server(("127.0.0.1", 0)) as sock:
        server = start({"listen.addresses": ["127.0.0.9"]}, **handing_over(sock))
        assert server.addresses == [sock.getsockname()]
    server.connect().echo()


def test_several_handed_over_sockets_are_all_served(systemd, start):
    with socket.create_server(("127.0.0.1", 0)) as first, \
            socket.create_server(("::1", 0), family=socket.AF_INET6) as second:
        server = start(**handing_over(first, second))
        assert server.addresses == [first.getsockname()[:2], second.getsockname()[:2]]
    for address in server.addresses:
        server.connect(address).echo()


def test_who_waits_at_a_handed_over_socket_is_served_by_the_next_server(systemd, start):
    """A restart: the manager has the socket open, so its backlog is not lost with this server."""
    settings = {"pool.workers": 1, "pool.worker_connections": 1, "pool.queue_limit": 1,
                "timeouts.drain": 0, "timeouts.idle_when_full": 0}
    with socket.create_server(("127.0.0.1", 0)) as sock:
        server = start(settings, **handing_over(sock))
        server.connect().echo()
        crowd = Crowd(server.address, 9)
        wait_for(lambda: server.figures()[1]["waiting"] == 1)
        server.stop()
        assert crowd.wait_closed(1) == 1  # it had been accepted
        start(**handing_over(sock))
    crowd.exchange()
    crowd.close()


def test_connections_of_a_handed_over_socket_get_the_options(systemd, start):
    with socket.create_server(("127.0.0.1", 0)) as sock:
        server = start({"limits.buffer_bytes": 12345}, **handing_over(sock))
    server.connect().echo()
    [accepted] = sockets(server)[False]
    with accepted:
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert accepted.getsockopt(socket.IPPROTO_TCP, TCP_NOTSENT_LOWAT) == 12345


def test_peers_of_a_socket_for_both_families_are_told_as_ipv4(systemd, start):
    """Bound to one mapped address, so that only this machine can reach it."""
    with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as sock:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind(("::ffff:127.0.0.1", 0))
        sock.listen()
        port = sock.getsockname()[1]
        server = start({"log.connections": True}, **handing_over(sock))
    client = server.connect(("127.0.0.1", port))
    client.echo()
    name = client.name
    client.close()
    assert name.startswith("127.0.0.1:")
    server.log.wait(f"connection accepted peer={name} local=127.0.0.1:{port}$")
    server.log.wait(f"connection closed peer={name} ")


@again_when_late
def test_a_handed_over_socket_that_blocks_does_not_block_the_acceptor(systemd, start):
    with socket.create_server(("127.0.0.1", 0)) as sock:
        sock.setblocking(True)
        server = start(**handing_over(sock))
    client = server.connect()
    client.echo()
    client.close()
    check_time(server.stop(), seconds(2))


def listening_unix():
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.bind(f"\0echopool-test-unix-{UNIQUE}")
    sock.listen()
    return sock


WRONG_SOCKETS = {
    "udp": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
    "not-listening": lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM),
    "unix": listening_unix,
    "file": lambda: open("/dev/null", "rb"),
}


@pytest.mark.parametrize("kind", WRONG_SOCKETS)
def test_what_is_not_a_listening_tcp_socket_is_refused_with_a_sentence(systemd, kind):
    with WRONG_SOCKETS[kind]() as wrong:
        result = run_program(**handing_over(wrong))
    assert result.returncode == 1
    [line] = [line for line in error_lines(result) if line.startswith("error:")]
    assert re.search(r"listening (TCP|stream) socket", line), line


def test_sockets_meant_for_another_process_are_left_alone(systemd, start):
    with socket.create_server(("127.0.0.1", 0)) as sock:
        options = handing_over(sock)
        options["wrapper"][-1] = options["wrapper"][-1].replace("str(os.getpid())", "'1'")
        server = start(**options)
        assert server.addresses != [sock.getsockname()]


def test_built_without_systemd_says_so(no_systemd):
    with socket.create_server(("127.0.0.1", 0)) as sock:
        result = run_program(**handing_over(sock))
    assert result.returncode == 1
    [line] = [line for line in error_lines(result) if line.startswith("error:")]
    assert "LISTEN_FDS" in line and "systemd" in line


class JournalPipe:
    """A pipe for stderr, and the JOURNAL_STREAM that says whether it is the journal's."""

    def __init__(self):
        self.reader, self.writer = os.pipe()
        status = os.fstat(self.writer)
        self.stream = f"{status.st_dev}:{status.st_ino}"

    def lines(self):
        os.set_blocking(self.reader, False)
        return os.read(self.reader, 65536).decode().splitlines()

    def close(self):
        os.close(self.reader)
        os.close(self.writer)


@pytest.fixture
def pipe():
    journal = JournalPipe()
    yield journal
    journal.close()


def test_the_journal_gets_its_prefixes(launch, pipe):
    server = launch(stderr=pipe.writer, env={"JOURNAL_STREAM": pipe.stream},
                    **without_file("log.connections=true", nohup=True)).wait_listening()
    server.connect().echo()
    server.send_signal(signal.SIGHUP)
    lines = []

    def all_seen():
        lines.extend(pipe.lines() if readable(pipe.reader) else [])
        return any(line.startswith("<4>") for line in lines) and len(lines) >= 3

    wait_for(all_seen)
    assert any(re.match("<6>(info: )?ready on ", line) for line in lines)
    assert all(re.match("<[3467]>", line) for line in lines), lines


def readable(descriptor):
    return bool(select.select([descriptor], [], [], 0)[0])


def test_another_stream_gets_none(launch, pipe):
    server = launch(stderr=pipe.writer, env={"JOURNAL_STREAM": "1:1"}).wait_listening()
    wait_for(lambda: readable(pipe.reader))
    assert all(line.startswith("info: ") for line in pipe.lines())
    server.connect().echo()
