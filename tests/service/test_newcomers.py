"""Clients that come while a listener closes, by a reload or a stop: none of them is reset."""

import collections
import ctypes
import re
import resource
import select
import signal
import socket
import struct
import threading
import time
from pathlib import Path

import pytest

from clients import family_of
from harness import again_when_late, check_time, seconds, unshared, wait_for
from live import in_network_of, needs_program, served

PORT = 7007
NETWORK = "ip link set lo up"
# The kernel repeats its answer to a first segment after so many seconds.
REPEATED_S = 1
OVERLAPS = {"ipv4": ("127.0.0.1", "0.0.0.0"), "ipv6": ("::1", "::")}
RESET_ON_CLOSE = b"\1\0\0\0\0\0\0\0"
SO_ATTACH_FILTER, SO_DETACH_FILTER = 26, 27
# A filter (struct sock_filter) that lets nothing pass: BPF_RET, 0.
DROP = ctypes.create_string_buffer(struct.pack("HBBI", 6, 0, 0, 0), 8)


class Churn:
    """Clients that connect, send a byte, expect it back and go, over and over."""

    def __init__(self, pid, address, count=4):
        self.seen = collections.Counter()
        self._stop = threading.Event()
        self._pid = pid
        self._address = address
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(count)]
        for thread in self._threads:
            thread.start()

    def _run(self):
        in_network_of(self._pid, self._come_and_go)

    def _come_and_go(self):
        while not self._stop.is_set():
            self.seen[self._one()] += 1

    def _one(self):
        try:
            with socket.create_connection(self._address, seconds(20)) as sock:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
                if sock.getsockname() == sock.getpeername():
                    return "refused"
                sock.sendall(b"x")
                return "served" if sock.recv(1) == b"x" else "closed"
        except ConnectionRefusedError:
            return "refused"
        except OSError as error:
            return type(error).__name__

    def wait_served(self, more=20):
        wanted = self.seen["served"] + more
        wait_for(lambda: self.seen["served"] >= wanted, what=f"{more} served; {self.seen}")

    def finish(self):
        """Ends it, and returns how many were served and what else happened how often."""
        self._stop.set()
        for thread in self._threads:
            thread.join(seconds(30))
        assert not any(thread.is_alive() for thread in self._threads)
        return dict(self.seen)


def wait_for_room(sock):
    """Waits until a socket is connected, or cannot be."""
    assert select.select([], [sock], [], seconds(20))[1]


def on(*addresses):
    return {"listen.addresses": list(addresses), "listen.port": PORT, "pool.workers": 1}


@pytest.mark.parametrize("family", OVERLAPS)
def test_nobody_is_reset_by_a_change_of_listeners(start, family):
    narrow, wide = OVERLAPS[family]
    server = start(on(narrow), wrapper=unshared("--net", NETWORK))
    churn = Churn(server.pid, (narrow, PORT))
    for i in range(20):
        churn.wait_served(4)
        server.reload(on(narrow if i % 2 else wide))
    churn.wait_served()
    assert set(churn.finish()) == {"served"}


# What a reload is refused for: by the system as it binds another address, and after that.
REFUSED = {"address": ["192.0.2.1"], "descriptors": []}


@pytest.mark.parametrize("why", REFUSED)
def test_nobody_is_reset_by_a_change_of_listeners_that_is_refused(start, why):
    """Clients of the wide address would come to the narrow one as soon as it listens."""
    narrow, wide = OVERLAPS["ipv4"]
    server = start(on(wide), wrapper=unshared("--net", NETWORK))
    resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (256, 256))
    churn = Churn(server.pid, (narrow, PORT))
    workers = {"pool.workers": 256} if why == "descriptors" else {}
    for _ in range(40):
        churn.wait_served(4)
        lines = server.reload(on(narrow, *REFUSED[why]) | workers)
        assert "the settings stay as they are" in lines[-2], lines
    churn.wait_served()
    assert set(churn.finish()) == {"served"}


def test_between_a_stop_and_a_new_start_clients_are_refused_and_none_is_reset(start):
    # The network stays while a program is in it.
    keeper = start(on("127.0.0.2"), wrapper=unshared("--net", NETWORK))
    inside = {"wrapper": [needs_program("nsenter"), f"--net=/proc/{keeper.pid}/ns/net"]}
    churn = Churn(keeper.pid, ("127.0.0.1", PORT))
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGTERM):
        server = start(on("127.0.0.1"), **inside)
        churn.wait_served()
        server.stop(number)
        wait_for(lambda: churn.seen["refused"])
    assert set(churn.finish()) == {"served", "refused"}


def half_open(address):
    """A client that does not hear the answer to its first segment."""
    sock = socket.socket(family_of(address))
    try:
        sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER,
                        struct.pack("HP", 1, ctypes.addressof(DROP)))
    except PermissionError as error:
        pytest.skip(f"needs socket filters: {error}")
    sock.setblocking(False)
    sock.connect_ex(address)
    return sock


def assert_served(clients):
    """Each is connected, gets its byte back, and goes."""
    for client in clients:
        client.settimeout(seconds(20))
        wait_for_room(client)
        client.sendall(b"x")
        assert client.recv(1) == b"x"
        client.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("reload", [False, True])
@again_when_late
def test_who_ends_the_handshake_meanwhile_is_served(start, host, reload):
    server = start({"listen.addresses": [host, "127.0.0.2"]})
    address = server.address
    begin = time.monotonic()
    clients = [server.hold(half_open(address)) for _ in range(10)]
    time.sleep(REPEATED_S - 0.3)
    for client in clients:
        client.setsockopt(socket.SOL_SOCKET, SO_DETACH_FILTER, 0)
    if reload:
        server.configure({"listen.addresses": ["127.0.0.2"], "listen.port": address[1]})
    server.send_signal(signal.SIGHUP if reload else signal.SIGTERM)
    check_time(time.monotonic() - begin, REPEATED_S - 0.05)
    assert_served(clients)
    if reload:
        server.log.wait("ready on", count=2)
        assert server.refuses(address)
    else:
        assert server.wait_exit() == 0


@again_when_late
def test_those_who_end_their_handshakes_one_after_another_are_served(start):
    """The half second does not get shorter with each of them."""
    server = start({"pool.workers": 1})
    begin = time.monotonic()
    clients = []
    for _ in range(12):
        clients.append(server.hold(half_open(server.address)))
        time.sleep(0.02)
    check_time(time.monotonic() - begin, 0.4)
    time.sleep(max(0, begin + REPEATED_S - 0.05 - time.monotonic()))
    for client in clients:
        client.setsockopt(socket.SOL_SOCKET, SO_DETACH_FILTER, 0)
    server.send_signal(signal.SIGTERM)
    check_time(time.monotonic() - begin, REPEATED_S)
    assert_served(clients)
    assert server.wait_exit() == 0


@again_when_late
def test_one_that_never_ends_its_handshake_holds_nobody_up_for_long(start):
    server = start({"pool.workers": 1})
    neighbour = served(server)
    crowd = [server.hold(half_open(server.address)) for _ in range(10)]
    begin = time.monotonic()
    server.send_signal(signal.SIGTERM)
    slowest = 0
    while not server.log.matching("draining"):
        slowest = max(slowest, neighbour.echo())
    took = time.monotonic() - begin
    assert took >= 0.5, "it did not wait"
    check_time(took, seconds(1.5))
    check_time(slowest, 0.3)
    for client in (neighbour, *crowd):
        client.close()
    assert server.wait_exit() == 0


def is_pending(pid, number):
    """Whether a signal was sent to the process and not read yet; proc(5)."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(re.search(r"^ShdPnd:\s+(\w+)$", status, re.MULTILINE)[1], 16) >> number - 1 & 1


def test_a_second_signal_ends_it_while_it_waits_for_a_handshake(start):
    server = start({"pool.workers": 1, "timeouts.drain": 600})
    served(server)
    server.hold(half_open(server.address))
    server.send_signal(signal.SIGTERM)
    wait_for(lambda: not is_pending(server.pid, signal.SIGTERM))
    time.sleep(0.15)  # one within 0.1 s is the same wish
    server.send_signal(signal.SIGTERM)
    assert server.wait_exit() == 0
