"""The network in a namespace of its own: a black hole and its return, killed sockets."""

import contextlib
import os
import shutil
import subprocess
import time

import pytest

from clients import Client, Crowd, Stream
from harness import (MISSING, again_when_late, before, needs_root, one_line, seconds, span,
                     unshared, wait_for)
from live import in_network_of
from talkers import Talkers

pytestmark = needs_root

UNLUCKY, LUCKY = "127.0.0.2", "127.0.0.3"
NETWORK = ("ip link set lo up; "
           "sysctl -qw net.ipv4.tcp_keepalive_time=1 net.ipv4.tcp_keepalive_intvl=1")
HOLE = """
table inet hole {
    chain input {
        type filter hook input priority 0;
        ip saddr 127.0.0.2 drop
        ip daddr 127.0.0.2 drop
    }
}
"""


@pytest.fixture
def start_in_network(start):
    """Starts a program that listens for the unlucky and the lucky in a network of its own."""
    for tool in ("ip", "nft", "ss", "nsenter", "sysctl"):
        if not shutil.which(tool, path=os.environ["PATH"] + ":/usr/sbin:/sbin"):
            pytest.skip(MISSING + tool)
    return lambda settings: start({"listen.addresses": [UNLUCKY, LUCKY]} | settings,
                                  wrapper=unshared("--net", NETWORK))


def inside(server, *command, text=None):
    """Runs a command in the server's network; skips where the kernel lacks what it needs."""
    result = subprocess.run(["nsenter", f"--net=/proc/{server.pid}/ns/net", *command],
                            input=text, capture_output=True, text=True, timeout=20, check=False)
    if result.returncode != 0:
        pytest.skip(f"needs what {command[0]} asks of the kernel: {one_line(result.stderr)}")
    return result.stdout


@contextlib.contextmanager
def black_hole(server):
    """Whatever goes to or comes from the unlucky address is lost without a word."""
    inside(server, "nft", "-f", "-", text=HOLE)
    yield
    inside(server, "nft", "delete", "table", "inet", "hole")


def connect(server, address):
    return server.hold(in_network_of(
        server.pid, lambda: Client.connect(address, timeout=seconds(20))))


def talkers(server, address, count, seed):
    return in_network_of(server.pid, lambda: Talkers(address, count, seed))


def crowd(server, address, count):
    return server.hold(in_network_of(server.pid, lambda: Crowd(address, count)))


def stream(server, address, data):
    return in_network_of(server.pid, lambda: Stream(address, data, 0, seconds(20)))


def test_a_black_hole_of_3_seconds_and_its_return(start_in_network):
    server = start_in_network({"pool.workers": 2})
    unlucky, lucky = server.addresses
    silent = connect(server, unlucky)
    silent.echo()
    with talkers(server, unlucky, 20, seed=1) as lost, talkers(server, lucky, 20, seed=2) as others:
        lost.wait_messages(20)
        with black_hole(server):
            begin = time.monotonic()
            time.sleep(0.2)
            before = lost.messages
            while time.monotonic() < begin + 3:
                others.wait_messages(20)
                time.sleep(0.1)
            # An answer for each may have come earlier and been looked at later.
            assert lost.messages <= before + 20, "it was no black hole"
        lost.wait_messages(60)
    silent.echo()
    wait_for(lambda: server.connections() == 1)
    assert sum(worker["error"] + worker["reset"] for worker in server.figures()[0]) == 0
    server.assert_idle(interval=0.5)


@again_when_late
def test_clients_lost_in_a_black_hole_are_let_go_in_time(start_in_network):
    idle = span(3)
    server = start_in_network({"pool.workers": 1, "timeouts.idle": idle,
                               "timeouts.idle_when_full": 0, "timeouts.write": span(1.5),
                               "log.connections": True})
    unlucky, lucky = server.addresses
    silent = crowd(server, unlucky, 10)
    silent.exchange()
    greedy = crowd(server, unlucky, 10)
    with before(time.monotonic() + span(1.5)):
        server.make_pending(greedy, b"x" * 65536, quiet=0.1)
    begin = time.monotonic()
    neighbour = connect(server, lucky)
    with black_hole(server):
        for reason in ("write-timeout", "idle"):
            server.log.wait(f" reason={reason}$", count=10)
            with before(begin + idle):
                begin = time.monotonic()
                neighbour.echo()
        assert server.connections() == 1
        server.assert_idle(interval=0.3)


def test_killed_sockets_end_and_nobody_else_notices(start_in_network):
    server = start_in_network({"pool.workers": 2, "log.connections": True})
    unlucky, lucky = server.addresses
    silent = crowd(server, unlucky, 10)
    silent.exchange()
    greedy = crowd(server, unlucky, 5)
    greedy.fill(b"x" * 65536, quiet=0.1)
    with talkers(server, lucky, 20, seed=3) as others:
        others.wait_messages(20)
        # As the server has them: its address is the source.
        killed = inside(server, "ss", "-K", "-H", "-t", "state", "established",
                        "src", UNLUCKY, "sport", "=", f":{unlucky[1]}")
        if not killed.strip():
            pytest.skip("needs CONFIG_INET_DIAG_DESTROY: ss -K closes nothing")
        server.log.wait("reason=error error=\"Software caused connection abort\"", count=15)
        others.wait_messages(50)
    wait_for(lambda: server.connections() == 0)
    assert sum(worker["error"] for worker in server.figures()[0]) == 15
    server.assert_idle(interval=0.5)
    connect(server, unlucky).echo()


def test_the_interface_goes_down_and_comes_back(start_in_network):
    server = start_in_network({"pool.workers": 2})
    clients = [connect(server, server.address) for _ in range(5)]
    for client in clients:
        client.echo()
    inside(server, "ip", "link", "set", "lo", "down")
    with contextlib.suppress(OSError):
        clients[0].send(b"late")
    server.assert_idle(interval=0.3)
    inside(server, "ip", "link", "set", "lo", "up")
    assert clients[0].receive(4) == b"late"
    for client in clients:
        client.echo()
    connect(server, server.address).echo()


def test_who_is_gone_without_a_word_is_found_by_keepalive(start_in_network):
    server = start_in_network({"pool.workers": 1, "timeouts.idle": 0, "log.connections": True})
    unlucky, lucky = server.addresses
    gone, neighbour = connect(server, unlucky), connect(server, lucky)
    gone.echo()
    neighbour.echo()
    with black_hole(server):
        gone.reset()  # which is lost
        assert server.connections() == 2
    server.log.wait(" reason=reset$")
    neighbour.echo()
    assert server.connections() == 1
    server.assert_idle(interval=0.3)
