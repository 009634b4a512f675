"""What is set on the sockets, looked at through copies of the server's own descriptors."""

import socket
from pathlib import Path

import pytest

from server_sockets import TCP_NOTSENT_LOWAT, backlog_of, sockets


SO_BUF_LOCK = 72


def closing(copies):
    """Yields sockets, each of which is closed then."""
    for sock in copies:
        with sock:
            yield sock


def can_unlock_buffers():
    """Whether the kernel can take an SO_RCVBUF back."""
    with socket.socket() as sock:
        try:
            sock.getsockopt(socket.SOL_SOCKET, SO_BUF_LOCK)
        except OSError:
            return False
    return True


@pytest.fixture
def open_sockets(start):
    """A function that starts a server with one client and returns sockets() of it."""
    closed_later = []

    def look(settings=None):
        server = start({"listen.addresses": ["127.0.0.1", "::1"]} | (settings or {}))
        server.connect().echo()
        found = sockets(server)
        closed_later.extend(found[True] + found[False])
        assert len(found[True]) == 2 and len(found[False]) == 1
        return found

    yield look
    for sock in closed_later:
        sock.close()


@pytest.mark.parametrize("wanted", [True, False])
def test_nodelay_is_as_the_file_says(open_sockets, wanted):
    [accepted] = open_sockets({"tcp.nodelay": wanted})[False]
    assert bool(accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)) == wanted


@pytest.mark.parametrize("wanted", [True, False])
def test_keepalive_is_as_the_file_says(open_sockets, wanted):
    [accepted] = open_sockets({"tcp.keepalive": wanted})[False]
    assert bool(accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)) == wanted


def test_nodelay_and_keepalive_are_the_default(open_sockets):
    [accepted] = open_sockets()[False]
    assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


def test_unsent_bytes_in_the_kernel_are_bounded(open_sockets):
    [accepted] = open_sockets()[False]
    lowat = accepted.getsockopt(socket.IPPROTO_TCP, TCP_NOTSENT_LOWAT)
    assert 0 < lowat < 1 << 24


def test_the_receive_buffer_follows_the_file_and_goes_back_to_the_kernel(start):
    def newest():
        client = server.connect()
        client.echo()
        port = client.sock.getsockname()[1]
        [size] = [sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
                  for sock in closing(sockets(server)[False]) if sock.getpeername()[1] == port]
        return size

    server = start()
    tuned = newest()
    server.reload({"limits.receive_bytes": 10000})
    assert newest() == 20000 != tuned
    server.reload({"limits.receive_bytes": 0})
    if not can_unlock_buffers():
        pytest.skip("needs a newer kernel: SO_BUF_LOCK is of Linux 5.14")
    assert newest() == tuned


def test_a_receive_buffer_that_the_kernel_cuts_is_told(start):
    server = start({"limits.receive_bytes": 16777216})
    most = int(Path("/proc/sys/net/core/rmem_max").read_text(encoding="ascii"))
    told = server.log.matching(f"limits.receive_bytes: 16777216 asked, the kernel gives {most};")
    assert len(told) == (most < 16777216)


@pytest.mark.parametrize("backlog", [7, 64])
def test_the_backlog_is_as_the_file_says(open_sockets, backlog):
    for listener in open_sockets({"listen.backlog": backlog})[True]:
        assert backlog_of(listener) == backlog


def test_listeners_can_be_bound_again_and_ipv6_is_ipv6_only(open_sockets):
    for listener in open_sockets()[True]:
        assert listener.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)
        if listener.family == socket.AF_INET6:
            assert listener.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)


def test_the_server_can_be_started_again_on_its_port(start):
    first = start({"timeouts.drain": 0})
    client = first.connect()
    client.echo()
    port = first.address[1]
    first.stop()
    again = start({"listen.port": port})
    again.connect().echo()
