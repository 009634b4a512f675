"""What is set on the sockets, looked at through copies of the server's own descriptors."""

import socket

import pytest

from server_sockets import TCP_NOTSENT_LOWAT, backlog_of, sockets


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
