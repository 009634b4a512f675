"""What is set on the sockets, looked at through copies of the server's own descriptors."""

import ctypes
import os
import re
import socket

import pytest

SYS_PIDFD_GETFD = 438
TCP_NOTSENT_LOWAT = 25


def copy_of(server, number):
    """A copy of a descriptor of the server, as a socket."""
    libc = ctypes.CDLL(None, use_errno=True)
    process = os.pidfd_open(server.pid)
    try:
        copy = libc.syscall(SYS_PIDFD_GETFD, process, number, 0)
    finally:
        os.close(process)
    if copy < 0:
        pytest.skip(f"pidfd_getfd: {os.strerror(ctypes.get_errno())}")
    return socket.socket(fileno=copy)


def sockets(server):
    """Copies of the server's internet sockets: {True: those that listen, False: the accepted}."""
    found = {True: [], False: []}
    for number, name in server.descriptors().items():
        if re.match("socket:", name):
            sock = copy_of(server, number)
            if sock.family in (socket.AF_INET, socket.AF_INET6):
                listens = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
                found[bool(listens)].append(sock)
    return found


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
