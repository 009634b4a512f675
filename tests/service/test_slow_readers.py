"""Clients that send and never read: bounded memory, idle CPU, neighbours not disturbed."""

import os
import socket
import time

from clients import Client, Crowd
from harness import ENGINE, PLAIN, assert_prompt, seconds, shared_bytes, wait_for

CLIENTS = 50
BUFFER_BYTES = 65536


def received(server):
    """How many bytes the server has read."""
    return sum(worker["received_bytes"] for worker in server.figures()[0])


def test_50_clients_that_never_read(start):
    server = start({"pool.workers": 2, "limits.buffer_bytes": BUFFER_BYTES})
    neighbours = [server.connect() for _ in range(10)]
    assert_prompt(neighbours)
    before = server.memory()
    data = os.urandom(1 << 20)
    greedy = server.hold(Crowd(server.address, CLIENTS))
    sent = server.make_pending(greedy, data)
    assert_prompt(neighbours)
    assert_prompt([server.connect()])
    grown = server.memory() - before
    most = CLIENTS * (BUFFER_BYTES + 4096) + shared_bytes(2, BUFFER_BYTES)
    assert not PLAIN or grown <= most, f"{grown} bytes"
    server.assert_idle()

    def reads_no_more():
        before = received(server)
        greedy.fill(data, quiet=0.1, sent=sent)
        return received(server) == before

    wait_for(reads_no_more, what="that nothing more is read while much is pending")
    fd, sock = greedy.sockets.popitem()
    read_all(sock, data, sent[fd])
    assert_prompt(neighbours)


def test_neighbours_are_answered_while_the_greedy_send(start):
    server = start({"pool.workers": 1})
    neighbour = server.connect()
    neighbour.echo()
    data = os.urandom(1 << 20)
    for _ in range(10):
        crowd = server.hold(Crowd(server.address, 5))
        crowd.fill(data, quiet=0)
        assert_prompt([neighbour])


def read_back(sock, data, count):
    """Reads what was sent earlier, byte-exact; returns the socket as a blocking client."""
    sock.settimeout(seconds(10))
    client = Client(sock)
    got = client.receive(count)
    assert got == (data * (count // len(data) + 1))[:count]
    return client


def read_all(sock, data, count):
    """Closes the sending side, reads what was sent earlier, and then the end."""
    sock.shutdown(socket.SHUT_WR)
    client = read_back(sock, data, count)
    client.expect_eof()
    client.close()


def test_what_is_pending_comes_when_the_peer_reads_at_last(start):
    server = start({"pool.workers": 1, "limits.buffer_bytes": 1024})
    data = os.urandom(1 << 20)
    crowd = server.hold(Crowd(server.address, 3))
    sent = server.make_pending(crowd, data)
    before = server.memory()
    for fd, sock in list(crowd.sockets.items()):
        read_all(crowd.sockets.pop(fd), data, sent[fd])
    wait_for(lambda: server.connections() == 0)
    assert not PLAIN or server.memory() <= before + 65536
    server.assert_idle()


def test_a_client_that_has_caught_up_costs_no_cpu(start):
    """Whoever waits for room to write must stop doing so once all is written."""
    server = start({"pool.workers": 1})
    data = os.urandom(1 << 20)
    crowd = server.hold(Crowd(server.address, 3))
    sent = crowd.fill(data)
    clients = [read_back(sock, data, sent[fd]) for fd, sock in crowd.sockets.items()]
    server.assert_idle()
    for client in clients:
        client.echo()
    server.assert_idle()


def test_what_is_pending_is_flushed_in_parts(start):
    """A large buffer is pending at once; a peer that takes little at a time gets it byte-exact."""
    server = start({"pool.workers": 1, "limits.buffer_bytes": 1 << 20})
    data = os.urandom((1 << 20) - 1)
    crowd = server.hold(Crowd(server.address, 2, receive_bytes=4096))
    sent = crowd.fill(data)
    assert min(sent.values()) > 1 << 20
    for fd, sock in crowd.sockets.items():
        read_back(sock, data, sent[fd]).echo()
    server.assert_idle()


def test_catching_up_again_and_again_does_not_grow_memory(start):
    server = start({"pool.workers": 1})
    data = os.urandom(1 << 20)
    crowd = server.hold(Crowd(server.address, 10))
    memory = []
    for _ in range(4):
        sent = crowd.fill(data, quiet=0.05)
        for fd, sock in crowd.sockets.items():
            read_back(sock, data, sent[fd])
            sock.setblocking(False)
        memory.append(server.memory())
    assert not PLAIN or memory[-1] <= memory[0] + (1 << 20), memory


def test_a_half_closed_greedy_client_costs_no_cpu(start):
    server = start({"pool.workers": 1})
    data = os.urandom(1 << 20)
    crowd = server.hold(Crowd(server.address, 1))
    [sent] = crowd.fill(data).values()
    [sock] = crowd.sockets.values()
    sock.shutdown(socket.SHUT_WR)
    server.assert_idle()
    read_back(sock, data, sent).expect_eof()


def test_what_is_pending_at_the_half_close_is_written_before_the_end(start):
    """The server has read everything, but could not write all of it yet.

    With io_uring the arrival of the FIN may end the kernel's wait for room.
    """
    server = start({"pool.workers": 1})
    client = server.connect()
    chunk = os.urandom(16384)  # one segment on loopback, so it is read in one piece
    count = 0
    while not has_pending(server, count * len(chunk)):
        client.send(chunk)
        count += 1
    client.finish()
    server.assert_idle()
    pending = received_minus_sent(server, count * len(chunk))
    assert pending > 0 or ENGINE == "io_uring"
    assert client.receive(count * len(chunk)) == chunk * count
    client.expect_eof()


def received_minus_sent(server, expected):
    """What the one worker has pending, once it has received as much as expected."""
    def received():
        [worker], _ = server.figures()
        return [worker] if worker["received_bytes"] == expected else None

    [worker] = wait_for(received, what=f"{expected} bytes received")
    return worker["received_bytes"] - worker["sent_bytes"]


def has_pending(server, expected):
    """True when bytes are pending, and not only until the next acknowledgement."""
    if received_minus_sent(server, expected) == 0:
        return False
    time.sleep(0.2)
    return received_minus_sent(server, expected) > 0


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
