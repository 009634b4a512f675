"""Clients that send and never read: bounded memory, idle CPU, neighbours not disturbed."""

import os

from clients import Crowd, Client
from harness import PLAIN, wait_for

CLIENTS = 50
BUFFER_BYTES = 65536


def neighbours_answer(neighbours):
    for client in neighbours:
        elapsed = client.echo()
        assert not PLAIN or elapsed < 0.2, f"a neighbour waited {elapsed:.3f} s"


def test_50_clients_that_never_read(start):
    server = start({"pool.workers": 2, "limits.buffer_bytes": BUFFER_BYTES})
    neighbours = [server.connect() for _ in range(10)]
    neighbours_answer(neighbours)
    before = server.memory()
    data = os.urandom(1 << 20)
    greedy = server.hold(Crowd(server.address, CLIENTS))
    sent = greedy.fill(data)
    neighbours_answer(neighbours)
    neighbours_answer([server.connect()])
    grown = server.memory() - before
    assert not PLAIN or grown <= CLIENTS * (BUFFER_BYTES + 4096), f"{grown} bytes"
    server.assert_idle()
    assert set(greedy.fill(data, quiet=0.1).values()) == {0}, "read on although much was owed"
    fd, sock = greedy.sockets.popitem()
    read_all(sock, data, sent[fd])
    neighbours_answer(neighbours)


def test_neighbours_are_answered_while_the_greedy_send(start):
    server = start({"pool.workers": 1})
    neighbour = server.connect()
    neighbour.echo()
    data = os.urandom(1 << 20)
    for _ in range(10):
        crowd = server.hold(Crowd(server.address, 5))
        crowd.fill(data, quiet=0)
        neighbours_answer([neighbour])


def read_all(sock, data, count):
    """Reads what was sent earlier, byte-exact, and then the end."""
    client = Client.__new__(Client)
    client.sock = sock
    sock.setblocking(True)
    sock.settimeout(10)
    client.finish()
    got = client.receive(count)
    client.expect_eof()
    client.close()
    assert got == (data * (count // len(data) + 1))[:count]


def test_what_is_owed_comes_when_the_peer_reads_at_last(start):
    server = start({"pool.workers": 1, "limits.buffer_bytes": 1024})
    data = os.urandom(1 << 20)
    crowd = server.hold(Crowd(server.address, 3))
    sent = crowd.fill(data)
    before = server.memory()
    for fd, sock in list(crowd.sockets.items()):
        read_all(crowd.sockets.pop(fd), data, sent[fd])
    wait_for(lambda: server.connections() == 0)
    assert not PLAIN or server.memory() <= before + 65536
    server.assert_idle()


def test_a_half_closed_greedy_client_costs_no_cpu(start):
    server = start({"pool.workers": 1})
    data = os.urandom(1 << 20)
    crowd = server.hold(Crowd(server.address, 1))
    [sent] = crowd.fill(data).values()
    [sock] = crowd.sockets.values()
    sock.shutdown(1)
    server.assert_idle()
    crowd.sockets.clear()
    read_all(sock, data, sent)


def test_a_trickle_is_served(start):
    server = start({"pool.workers": 1})
    client = server.connect()
    data = os.urandom(4 << 20)
    sender = server.hold(Crowd(server.address, 1))
    client.echo()
    fd, sock = next(iter(sender.sockets.items()))
    sent = sender.fill(data, quiet=0.05)[fd]
    sock.setblocking(True)
    got = b""
    while len(got) < min(sent, 1 << 20):
        got += sock.recv(777)
    assert data.startswith(got)
    client.echo()
