"""What hostile clients take of the kernel's memory, and how long they keep it."""

import re
import subprocess
import time
from pathlib import Path

import pytest

from harness import again_when_late, before, needs_root, span, wait_for
from live import needs_program
from raw_clients import ACK, FIN, SERVER, Network, raw_network

pytestmark = needs_root

ATTACKER = "10.77.1.1"
# As README.md says of limits.receive_bytes.
RECEIVE_BYTES = 131072
ESTABLISHED, LISTENS = "01", "0A"


@pytest.fixture
def attack(start):
    """A function that starts a server in a network of its own; returns it, and the far side."""
    networks = []

    def begin(settings):
        needs_program("ss")
        server = start({"listen.addresses": [SERVER[4]]} | settings, wrapper=raw_network())
        networks.append(Network(server))
        return server, networks[-1]

    yield begin
    for network in networks:
        network.close()


def memory_of_connections(server):
    """The kernel memory of each connection in the server's network, in bytes: what it has received
    and nobody has read, what it has to send, and what is set aside."""
    told = subprocess.run(["nsenter", f"--net=/proc/{server.pid}/ns/net", "ss", "-tnmHO"],
                          capture_output=True, text=True, timeout=30, check=True).stdout
    found = re.findall(r"skmem:\(r(\d+),.*?,f(\d+),w(\d+),", told)
    return [sum(map(int, numbers)) for numbers in found]


def states(server):
    """The states of all TCP sockets in the server's network, but for those that listen."""
    lines = Path(f"/proc/{server.pid}/net/tcp").read_text(encoding="ascii").splitlines()[1:]
    return [state for state in (line.split()[3] for line in lines) if state != LISTENS]


def test_segments_out_of_order_take_no_more_than_the_receive_buffer(attack):
    server, network = attack({"limits.receive_bytes": RECEIVE_BYTES})
    clients = [network.client(ATTACKER, port, server.address[1]) for port in (1001, 1002)]
    most = 0
    for skip in range(2, 48000, 2):
        for client in clients:
            client.send(b"x", skip=skip)
        if skip % 8000 == 0:
            most = max(most, *memory_of_connections(server))
    for client in clients:
        client.send(b"x")
        client.wait_acknowledged()
    assert 65536 < most <= 300_000


def test_a_client_that_takes_nothing_is_bounded_by_both_buffers(attack):
    """Its window has grown with what it took; then it acknowledges nothing, and sends on."""
    server, network = attack({"limits.receive_bytes": RECEIVE_BYTES, "pool.workers": 1})
    client = network.client(ATTACKER, 1001, server.address[1], acknowledges=True)
    for _ in range(2000):
        client.send(b"x" * 1400)
        client.wait_acknowledged()
    client.acknowledges = client.answers = False
    for _ in range(3000):
        client.send(b"x" * 1400)
    most = int(Path("/proc/sys/net/ipv4/tcp_wmem").read_text(encoding="ascii").split()[2])
    wait_for(lambda: memory_of_connections(server))
    assert 65536 < max(memory_of_connections(server)) <= most + 300_000


def test_closed_connections_do_not_stay_in_the_kernel(attack):
    """The client ends its side, keeps its window closed, and answers every probe."""
    write = span(2)
    server, network = attack({"timeouts.write": write, "timeouts.idle": 0, "pool.workers": 1})
    clients = []
    for port in range(1001, 1021):
        client = network.client(ATTACKER, port, server.address[1], window=0)
        for _ in range(20):
            client.send(b"x" * 1400)
        client.send(b"", flags=ACK | FIN)
        clients.append(client)
    wait_for(lambda: server.figures()[0][0]["client"] == len(clients))
    wait_for(lambda: not states(server), what="that nothing of it is left")


def test_a_window_that_is_just_full_keeps_no_closed_connection(attack):
    """No byte is unsent then, but the end of the connection has no room in the window either."""
    write = span(2)
    server, network = attack({"timeouts.write": write, "timeouts.idle": 0, "pool.workers": 1})
    client = network.client(ATTACKER, 1001, server.address[1], window=1400, scale=0)
    client.send(b"x" * 1400)
    wait_for(lambda: server.figures()[0][0]["sent_bytes"] == 1400)
    client.fill_window(1400)
    client.send(b"", flags=ACK | FIN)
    wait_for(lambda: server.figures()[0][0]["client"] == 1)
    wait_for(lambda: not states(server), what="that nothing of it is left")


@again_when_late
def test_a_write_timeout_resets_and_leaves_nothing_in_the_kernel(attack):
    write = span(2)
    server, network = attack({"timeouts.write": write, "timeouts.idle": 0,
                              "limits.buffer_bytes": 1024, "pool.workers": 1})
    begin = time.monotonic()
    client = network.client(ATTACKER, 1001, server.address[1], window=0)
    # The kernel takes some 64 KiB to send; the rest is pending, or not read.
    with before(begin + write):
        for _ in range(64):
            client.send(b"x" * 1400)
            client.wait_acknowledged()
        assert states(server) == [ESTABLISHED]
    wait_for(lambda: server.figures()[0][0]["write_timeout"] == 1)
    wait_for(lambda: not states(server), what="that nothing of it is left")


def test_an_idle_timeout_resets_where_bytes_are_unsent(attack):
    server, network = attack({"timeouts.write": 0, "timeouts.idle": 0.5, "pool.workers": 1})
    client = network.client(ATTACKER, 1001, server.address[1], window=0)
    client.send(b"hello")
    client.wait_end()
    wait_for(lambda: server.figures()[0][0]["idle"] == 1)
    wait_for(lambda: not states(server), what="that nothing of it is left")
