"""Reload of addresses, port and backlog: sockets that stay, go, overlap, and hold clients."""

import errno
import re
import socket
import subprocess
import threading

import pytest

from clients import Client, family_of
from harness import run_program, seconds, unshared, wait_for
from live import in_network_of, needs_program, served
from load import Load

LISTEN_STATE = "0A"
STAY = "the settings stay as they are"
TEXTBOOK = {"pool.workers": 1, "pool.worker_connections": 1, "pool.queue_limit": 1,
            "timeouts.idle": 0, "timeouts.idle_when_full": 0}


def listening(server):
    """The inodes of the server's listening sockets, in the order of /proc: {port: [inodes]}."""
    held = set(server.descriptors().values())
    found = {}
    for table in ("tcp", "tcp6"):
        with open(f"/proc/{server.pid}/net/{table}", encoding="ascii") as file:
            for fields in (line.split() for line in list(file)[1:]):
                if fields[3] == LISTEN_STATE and f"socket:[{fields[9]}]" in held:
                    host, port = fields[1].split(":")
                    found[host, int(port, 16)] = fields[9]
    return found


def inode(server, address):
    """The inode of the socket that listens on this IPv4 address."""
    host = socket.inet_aton(address[0])[::-1].hex().upper()
    return listening(server).get((host, address[1]))


def free_port(hosts=("127.0.0.1",)):
    """A port that was free on these addresses a moment ago."""
    for _ in range(100):
        with socket.create_server((hosts[0], 0)) as first:
            port = first.getsockname()[1]
            try:
                for host in hosts[1:]:
                    socket.create_server((host, port)).close()
            except OSError:
                continue
            return port
    return pytest.fail("no port is free on all the addresses")


def on(addresses, port=0, **more):
    return {"listen.addresses": addresses, "listen.port": port} | more


def test_addresses_come_and_go_and_one_that_stays_keeps_its_socket(start):
    server = start(on(["127.0.0.1", "127.0.0.2"]))
    port = server.address[1]
    stays = inode(server, ("127.0.0.2", port))
    before = [served(server, address) for address in server.addresses]
    server.reload(on(["127.0.0.3", "127.0.0.2", "::1"]))
    assert server.addresses == [("127.0.0.3", port), ("127.0.0.2", port), ("::1", port)]
    assert inode(server, ("127.0.0.2", port)) == stays and len(listening(server)) == 3
    assert server.refuses(("127.0.0.1", port))
    for address in server.addresses:
        served(server, address)
    for client in before:
        client.echo()


@pytest.mark.parametrize("change", [{}, {"pool.workers": 3}, {"tcp.nodelay": False},
                                    {"listen.backlog": 5}])
def test_port_0_stays_the_same_port_and_socket(start, change):
    server = start(on(["127.0.0.1", "::1"]))
    addresses, sockets = server.addresses, listening(server)
    server.reload(on(["127.0.0.1", "::1"]) | change)
    assert server.addresses == addresses and listening(server) == sockets
    served(server)


def test_port_0_becomes_the_same_port_by_number_and_back(start):
    server = start(on(["127.0.0.1"]))
    port, sockets = server.address[1], listening(server)
    server.reload(on(["127.0.0.1"], port))
    assert listening(server) == sockets
    served(server)
    server.reload(on(["127.0.0.1"], 0))
    assert len(listening(server)) == 1
    served(server)


def test_another_port(start):
    server = start(on(["127.0.0.1"]))
    old = server.address
    client = served(server)
    server.reload(on(["127.0.0.1"], free_port()))
    assert server.address != old and server.refuses(old)
    client.echo()
    served(server)
    with socket.create_server(old):
        pass


def test_the_order_of_the_addresses_is_no_change_of_sockets(start):
    server = start(on(["127.0.0.1", "127.0.0.2"]))
    sockets = listening(server)
    server.reload(on(["127.0.0.2", "127.0.0.1"]))
    assert listening(server) == sockets
    served(server)


def test_16_addresses_become_16_others(start):
    server = start(on([f"127.0.1.{i}" for i in range(1, 17)]))
    client = served(server)
    server.reload(on([f"127.0.2.{i}" for i in range(1, 17)]))
    assert len(server.addresses) == len(listening(server)) == 16
    for address in server.addresses:
        served(server, address)
    client.echo()


def send_queue(server):
    """The backlog as the kernel tells it: ss shows it as the Send-Q of a listener."""
    said = subprocess.run([needs_program("ss"), "-ltnH", f"sport = :{server.address[1]}"],
                          capture_output=True, text=True, timeout=20, check=True).stdout
    return [int(line.split()[2]) for line in said.splitlines()]


def test_the_backlog_of_a_socket_that_stays(start):
    server = start({"listen.backlog": 33})
    sockets = listening(server)
    assert send_queue(server) == [33]
    for backlog in (44, 5):
        server.reload({"listen.backlog": backlog})
        assert send_queue(server) == [backlog] and listening(server) == sockets
    served(server)


@pytest.mark.parametrize("wrong", ["in-use", "not-ours"])
def test_one_that_cannot_be_bound_leaves_everything_as_it_was(start, wrong):
    server = start(on(["127.0.0.1", "127.0.0.2"]) | {"pool.workers": 1})
    client = served(server)
    port = server.address[1]
    before = (server.addresses, server.limits, listening(server), server.threads(),
              server.descriptors())
    with socket.create_server(("127.0.0.4", port)):
        last = {"in-use": "127.0.0.4", "not-ours": "192.0.2.1"}[wrong]
        lines = server.reload(on(["127.0.0.3", "127.0.0.1", last], **{
            "pool.workers": 3, "pool.queue_limit": 9, "limits.connections_per_ip": 1,
            "listen.backlog": 3, "access.deny": ["127.0.0.1"]}))
    assert STAY in lines[-2] and any(f"{last}:{port}" in line for line in lines)
    assert not any("changed from" in line for line in lines)
    assert (server.addresses, server.limits, listening(server), server.threads(),
            server.descriptors()) == before
    assert server.refuses(("127.0.0.3", port))
    client.echo()
    for address in server.addresses:
        served(server, address)


def full_server(start):
    """A server of one worker for one client, with that client, one in the queue, and a crowd in
    the backlog of its second address: the server, its client, those who wait in their order."""
    server = start(on(["127.0.0.1", "127.0.0.2"], **TEXTBOOK))
    holder = served(server)
    port = server.address[1]
    waiting = [server.connect(("127.0.0.2", port))]
    wait_for(lambda: server.figures()[1]["waiting"] == 1)
    waiting += [server.connect(("127.0.0.2", port)) for _ in range(20)]
    for client in waiting:
        client.send(b"patient")
    return server, holder, waiting


@pytest.mark.parametrize("after", [
    pytest.param(lambda port: on(["127.0.0.1"], port), id="address-goes"),
    pytest.param(lambda port: on(["127.0.0.1"], free_port()), id="both-go"),
])
def test_what_the_backlog_of_an_old_listener_holds_is_served(start, after):
    server, holder, waiting = full_server(start)
    old = ("127.0.0.2", server.address[1])
    server.reload(after(server.address[1]) | TEXTBOOK)
    assert server.refuses(old)
    late = server.connect()
    late.send(b"later")
    assert server.limits["queue_limit"] == 1
    assert not late.hears(within=0.2)
    assert server.figures()[1]["waiting"] == len(waiting)
    for client in waiting:
        assert not client.hears(within=0)
    holder.echo()
    holder.close()
    for client in waiting:
        assert client.receive(7) == b"patient"
        client.close()
    assert late.receive(5) == b"later"


def test_an_address_that_stays_refuses_nobody_while_others_change(start):
    server = start(on(["127.0.0.1"]))
    load = Load(server.address, steady=5)
    try:
        for i in range(60):
            server.reload(on([["127.0.0.1", "127.0.0.2"], ["127.0.0.3", "127.0.0.1", "::1"],
                              ["127.0.0.1"]][i % 3]))
            load.check()
        load.wait_round()
        load.finish()
    finally:
        load.close()


# Wildcard addresses: only in a network of their own, which nobody else can reach.

PORT = 7007
OWN_NETWORK = "ip link set lo up"


def own_network():
    return unshared("--net", OWN_NETWORK)


def client_inside(server, address):
    """A served client in the server's network."""
    client = server.hold(in_network_of(
        server.pid, lambda: Client.connect(address, timeout=seconds(20))))
    client.echo()
    return client


def refused_second_instance(server, host):
    """Starts the program once more on this address, and expects that it is refused."""
    entered = [needs_program("nsenter"), f"--net=/proc/{server.pid}/ns/net"]
    result = run_program("-o", f'listen.addresses=["{host}"]', "-o", f"listen.port={PORT}",
                         wrapper=entered)
    assert result.returncode == 1 and "in use" in result.stderr, result.stderr


def listen_beside(host, share=True):
    """A socket that listens on the server's port, as another process of the same user might."""
    sock = socket.socket(family_of((host, PORT)))
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, share)
        if ":" in host:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((host, PORT))
        sock.listen()
    except OSError:
        sock.close()
        raise
    return sock


def shares_its_port(server):
    """True when another process of the same user can listen on an address of the server's."""
    for host, _ in server.addresses:
        for other in next(pair for pair in OVERLAPS.values() if host in pair):
            try:
                in_network_of(server.pid, lambda name=other: listen_beside(name)).close()
                return True
            except OSError as error:
                assert error.errno == errno.EADDRINUSE, error
    return False


OVERLAPS = {"ipv4": ("127.0.0.1", "0.0.0.0"), "ipv6": ("::1", "::"),
            "another": ("127.0.0.2", "0.0.0.0")}
FAMILIES = ("ipv4", "ipv6")


@pytest.mark.parametrize("family", FAMILIES)
def test_overlapping_addresses_change_places(start, family):
    narrow, wide = OVERLAPS[family]
    server = start(on([narrow], PORT), wrapper=own_network())
    first = client_inside(server, (narrow, PORT))
    clients = [first]
    for host in (wide, narrow, wide, narrow):
        refused_second_instance(server, host)
        lines = server.reload(on([host], PORT))
        assert server.addresses == [(host, PORT)], lines
        assert len(listening(server)) == 1 and not shares_its_port(server)
        clients.append(client_inside(server, (narrow, PORT)))
        for other in (narrow, wide):
            refused_second_instance(server, other)
    for client in clients:
        client.echo()


def test_both_families_and_more_addresses_overlap(start):
    server = start(on(["127.0.0.1", "127.0.0.2", "::1"], PORT), wrapper=own_network())
    server.reload(on(["::", "0.0.0.0"], PORT))
    assert server.addresses == [("::", PORT), ("0.0.0.0", PORT)] and not shares_its_port(server)
    client_inside(server, ("127.0.0.9", PORT))
    server.reload(on(["127.0.0.2", "127.0.0.1", "::1"], PORT))
    assert len(listening(server)) == 3 and not shares_its_port(server)
    server.reload(on(["0.0.0.0", "::1"], PORT))
    assert len(listening(server)) == 2 and not shares_its_port(server)
    client_inside(server, ("::1", PORT))
    client_inside(server, ("127.0.0.1", PORT))


def test_an_overlap_beside_another_address_that_fails_changes_nothing(start):
    server = start(on(["127.0.0.1"], PORT), wrapper=own_network())
    before = listening(server)
    lines = server.reload(on(["0.0.0.0", "2001:db8::1"], PORT))
    assert STAY in lines[-2] and any("[2001:db8::1]" in line for line in lines), lines
    assert listening(server) == before and not shares_its_port(server)
    refused_second_instance(server, "127.0.0.1")
    client_inside(server, ("127.0.0.1", PORT))


@pytest.mark.parametrize("family", FAMILIES)
def test_an_overlap_after_which_the_port_could_be_shared_is_refused(start, family):
    """What keeps others out takes an address of the other family, all of which somebody has."""
    narrow, wide = OVERLAPS[family]
    everything = OVERLAPS[FAMILIES[1 - FAMILIES.index(family)]][1]
    server = start(on([narrow], PORT), wrapper=own_network())
    before = listening(server)
    with in_network_of(server.pid, lambda: listen_beside(everything, share=False)):
        lines = server.reload(on([wide], PORT))
    assert STAY in lines[-2] and any(
        "cannot keep other processes of this user from" in line and "restart" in line
        for line in lines), lines
    assert listening(server) == before and not shares_its_port(server)
    client_inside(server, (narrow, PORT))


def bind_attempts(ended):
    """Tries to listen beside the server until ended is set; returns how often, and successes."""
    attempts, taken = 0, []
    while not ended.is_set():
        for host in ("127.0.0.1", "0.0.0.0"):
            with socket.socket() as sock:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                attempts += 1
                try:
                    sock.bind((host, PORT))
                    sock.listen()
                    taken.append((attempts, host))
                except OSError as error:
                    assert error.errno == errno.EADDRINUSE, error
    return attempts, taken


def test_nobody_else_gets_the_port_during_an_overlap(start):
    server = start(on(["127.0.0.1"], PORT), wrapper=own_network())
    ended = threading.Event()
    outcome = []
    thief = threading.Thread(target=lambda: outcome.append(
        in_network_of(server.pid, lambda: bind_attempts(ended))))
    thief.start()
    try:
        for i in range(60):
            server.reload(on([("0.0.0.0", "127.0.0.1")[i % 2]], PORT))
            assert len(listening(server)) == 1
    finally:
        ended.set()
        thief.join()
    attempts, taken = outcome[0]
    assert attempts > 1000 and not taken


def test_another_instance_does_not_get_the_port_by_a_reload(start):
    """The kernel remembers that a port was shared, for sockets that ask to share it."""
    first = start(on(["127.0.0.1"], PORT), wrapper=own_network())
    entered = [needs_program("nsenter"), f"--net=/proc/{first.pid}/ns/net"]
    second = start(on(["127.0.0.1"], PORT + 1), wrapper=entered)
    for host in ("127.0.0.1", "0.0.0.0", "127.0.0.1"):
        first.reload(on([host], PORT))
        for wanted in ("127.0.0.1", "0.0.0.0"):
            lines = second.reload(on([wanted], PORT))
            assert STAY in lines[-2] and any("in use" in line for line in lines), lines
            assert second.addresses == [("127.0.0.1", PORT + 1)]
    client_inside(first, ("127.0.0.1", PORT))
    client_inside(second, ("127.0.0.1", PORT + 1))
    assert first.figures()[1]["accepted"] == second.figures()[1]["accepted"] == 1


def test_an_address_family_that_the_kernel_lacks_is_a_warning_on_reload_too(start):
    script = f"{OWN_NETWORK}; sysctl -qw net.ipv6.conf.all.disable_ipv6=1"
    server = start(on(["127.0.0.1"], PORT), wrapper=unshared("--net", script))
    lines = server.reload(on(["127.0.0.1", "::1"], PORT) | {"pool.workers": 2})
    assert any(re.match("warning: .*::1", line) for line in lines)
    assert server.limits["workers"] == 2 and server.addresses == [("127.0.0.1", PORT)]
    assert STAY in server.reload(on(["::1"], PORT))[-2]
    client_inside(server, ("127.0.0.1", PORT))
