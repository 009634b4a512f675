"""Access: allow and deny by address, and how many connections from each."""

import contextlib
import signal

import pytest

from clients import Client, Crowd, dial, need_descriptors
from harness import needs_root, seconds, span, unshared, wait_for
from live import client_from, in_network_of, is_closed
from raw_clients import SERVER, Network, raw_network

FIRST, SECOND, THIRD = "127.0.0.2", "127.0.0.3", "127.0.0.4"
LIMIT = 3
LOGGED = {"log.connections": True}


def is_served(server, source):
    """True when a new client from there is echoed, False when it is closed at once."""
    client = client_from(server, source)
    try:
        client.send(b"hello")
        answer = client.sock.recv(100)
    except ConnectionError:
        return False
    assert answer in (b"", b"hello")
    return bool(answer)


def refusals(server):
    queue = server.figures()[1]
    assert queue["refused"] == queue["denied"] + queue["too_many"] + queue["no_memory"]
    return queue["denied"], queue["too_many"]


@pytest.mark.parametrize("allow, deny, served", [
    (["127.0.0.2"], [], {FIRST}),
    (["127.0.0.2/31"], [], {FIRST, SECOND}),
    (["127.0.0.4/30", "127.0.0.3/32"], [], {SECOND, THIRD}),
    (["::/0"], [], set()),
    (["10.0.0.0/8", "0.0.0.0/0"], ["127.0.0.3"], {FIRST, THIRD}),
    (["127.0.0.3"], ["127.0.0.2/31"], set()),
    (["::ffff:127.0.0.2/127", "127.0.0.4"], ["::ffff:127.0.0.3", "::/0"], {FIRST, THIRD}),
])
def test_allow_and_deny(start, allow, deny, served):
    server = start({"access.allow": allow, "access.deny": deny, **LOGGED})
    sources = [FIRST, SECOND, THIRD]
    assert {source for source in sources if is_served(server, source)} == served
    denied = len(sources) - len(served)
    server.log.wait("connection closed .* reason=denied$", count=denied)
    assert refusals(server) == (denied, 0)
    assert server.figures()[1]["accepted"] == len(served)


@pytest.mark.parametrize("allow, deny, ipv4, ipv6", [
    (["0.0.0.0/0", "::/0"], [], True, True),
    (["0.0.0.0/0"], [], True, False),
    (["::/0"], [], False, True),
    (["0.0.0.0/0", "::1"], ["127.0.0.0/8"], False, True),
    (["0.0.0.0/0", "::/0"], ["::1"], True, False),
    (["0.0.0.0/0", "::/127"], ["::/128"], True, True),
    (["::ffff:0:0/96"], [], True, False),
])
def test_the_families_are_told_apart(start, allow, deny, ipv4, ipv6):
    server = start({"listen.addresses": ["127.0.0.1", "::1"], "access.allow": allow,
                    "access.deny": deny})
    for (host, port), served in zip(server.addresses, (ipv4, ipv6)):
        client = server.connect((host, port))
        if served:
            client.echo()
        else:
            assert is_closed(client, within=seconds(20))
    assert refusals(server) == (2 - ipv4 - ipv6, 0)


def test_the_limit_for_one_address_refuses_only_the_excess(start):
    server = start({"pool.workers": 2, "limits.connections_per_ip": LIMIT, **LOGGED})
    held = [client_from(server, FIRST) for _ in range(LIMIT)]
    for client in held:
        client.echo()
    for _ in range(20):
        assert is_closed(client_from(server, FIRST), within=seconds(20))
    server.log.wait("connection closed peer=127.0.0.2:.* reason=too-many-of-its-address$",
                    count=20)
    assert refusals(server) == (0, 20)
    for source in (SECOND, THIRD):
        assert [is_served(server, source) for _ in range(LIMIT + 1)] == [True] * LIMIT + [False]
    for client in held:
        client.echo()
    assert server.connections() == 3 * LIMIT
    server.assert_idle(interval=0.3)


def test_who_comes_back_at_once_after_the_end_is_not_in_excess(start):
    """The count is given back before the client can know that its connection has ended."""
    server = start({"pool.workers": 2, "limits.connections_per_ip": 1})
    for _ in range(1000):
        client = Client(dial(server.address, seconds(10)))
        client.echo(b"x")
        client.finish()
        client.expect_eof()
        client.close()
    assert refusals(server) == (0, 0)


@needs_root
def test_by_default_one_address_has_half_of_the_pool_and_loopback_all(start):
    network = unshared("--net", "ip link set lo up; ip addr add 10.77.0.1/16 dev lo")
    pool = {"pool.workers": 1, "pool.worker_connections": 6,
            "listen.addresses": ["10.77.0.1", "127.0.0.1"]}
    server = start(pool, wrapper=network)
    server.log.wait("^info: limits.connections_per_ip is 0: one address may have 3 connections,")
    other, loopback = server.addresses

    def connect(address):
        return server.hold(in_network_of(
            server.pid, lambda: Client.connect(address, timeout=seconds(20))))

    for _ in range(3):
        connect(other).echo()
    assert is_closed(connect(other), within=seconds(20))
    for _ in range(3):
        connect(loopback).echo()
    assert refusals(server) == (0, 1)
    server.close_clients()
    wait_for(lambda: server.connections() == 0)
    told = server.reload(pool | {"pool.worker_connections": 10})
    assert any("one address may have 5 connections" in line for line in told)
    for _ in range(5):
        connect(other).echo()
    assert is_closed(connect(other), within=seconds(20))


@needs_root
def test_a_network_of_ipv6_is_counted_as_one_address(start):
    settings = {"pool.workers": 1, "listen.addresses": [SERVER[6]],
                "limits.connections_per_ip": LIMIT}
    server = start(settings, wrapper=raw_network())
    with Network(server) as network:
        def connect(*addresses):
            for address in addresses:
                network.client(address, 1000, server.address[1])

        connect(*(f"fd77:0:0:1::{host}" for host in range(2 * LIMIT)))
        wait_for(lambda: refusals(server) == (0, LIMIT))
        connect("fd77:0:0:2::1")
        wait_for(lambda: server.connections() == LIMIT + 1)
        # Those that are there stay counted by 64 bits, and end so.
        server.reload(settings | {"limits.prefix_ipv6": 48})
        connect(*(f"fd77:0:0:{net}::1" for net in range(3, 3 + LIMIT + 1)))
        wait_for(lambda: refusals(server) == (0, LIMIT + 1))
        assert server.connections() == 2 * LIMIT + 1
    wait_for(lambda: server.connections() == 0)
    with Network(server) as network:
        connect("fd77:0:0:1::1")
        wait_for(lambda: server.connections() == 1)


def test_where_only_this_machine_can_come_nothing_is_told_of_a_limit(start):
    server = start({"listen.addresses": ["127.0.0.2", "::1"]})
    assert not server.log.matching("connections_per_ip")


def test_ipv6_addresses_are_counted_too(start):
    server = start({"listen.addresses": ["127.0.0.1", "::1"], "limits.connections_per_ip": 2})
    for address in server.addresses:
        for _ in range(2):
            server.connect(address).echo()
        assert is_closed(server.connect(address), within=seconds(20))
    assert refusals(server) == (0, 2)


def test_who_is_refused_without_end_disturbs_nobody(start):
    server = start({"access.deny": [FIRST], "limits.connections_per_ip": 5})
    neighbours = [client_from(server, SECOND) for _ in range(5)]
    for client in neighbours:
        client.echo()
    descriptors = len(server.descriptors())
    for _ in range(500):
        for source in (FIRST, SECOND):
            client = Client(dial(server.address, seconds(10), source))
            client.close()
    for client in neighbours:
        client.echo()
    wait_for(lambda: refusals(server) == (500, 500))
    wait_for(lambda: len(server.descriptors()) == descriptors)
    server.assert_idle(interval=0.3)


def test_a_reload_binds_only_those_who_come_after(start):
    server = start({})
    first = [client_from(server, FIRST) for _ in range(4)]
    second = [client_from(server, SECOND) for _ in range(2)]
    for client in first + second:
        client.echo()
    server.reload({"limits.connections_per_ip": 2, "access.deny": [SECOND]})
    for client in first + second:
        client.echo()
    assert not is_served(server, FIRST) and not is_served(server, SECOND)
    assert is_served(server, THIRD)
    for client in first[:2]:
        client.close()
    wait_for(lambda: server.connections() == 5)
    assert not is_served(server, FIRST)
    first[2].close()
    wait_for(lambda: server.connections() == 4)
    assert is_served(server, FIRST)
    server.reload({})
    assert is_served(server, FIRST) and is_served(server, SECOND)


# Every way in which a connection can end. Each gets a server that is new, or whose one other
# client leaves room for one, and connections from FIRST up to the limit.

def close_them(_, clients):
    for client in clients:
        client.close()


def half_close_them(_, clients):
    for client in clients:
        client.finish()
        client.expect_eof()


def reset_them(_, clients):
    for client in clients:
        client.send(b"x" * 1000)
        client.reset()


def leave_them_silent(server, clients):
    """Nobody is silent for too long before that."""
    server.reload({"limits.connections_per_ip": LIMIT, "timeouts.idle": 0.3})
    for client in clients:
        client.expect_closed()
    server.reload({"limits.connections_per_ip": LIMIT})


def never_read(server, clients):
    for client in clients:
        client.sock.setblocking(False)
        with contextlib.suppress(BlockingIOError, ConnectionError):  # or gone already
            while True:
                client.sock.send(b"x" * 65536)
    wait_for(lambda: server.connections() == 0)


def let_others_wait(server, clients):
    # Of one address that holds as many nobody would go.
    others = [client_from(server, f"127.0.1.{i + 1}") for i in range(len(clients))]
    for client in others:
        client.echo()
    for client in clients:
        client.expect_closed()
    for client in others:
        client.close()


def hand_them_over_and_close(server, clients):
    server.reload({"pool.workers": 1, "limits.connections_per_ip": LIMIT})
    for client in clients:
        client.echo()
        client.close()


def reset_them_while_handed_over(server, clients):
    server.configure({"pool.workers": 1, "limits.connections_per_ip": LIMIT})
    mark = server.log.mark()
    server.send_signal(signal.SIGHUP)
    for client in clients:
        client.reset()
    server.log.wait("ready on ", start=mark)
    server.reload()


@pytest.mark.parametrize("settings, end", [
    ({}, close_them),
    ({}, half_close_them),
    ({}, reset_them),
    ({}, leave_them_silent),
    ({"timeouts.write": span(0.3), **LOGGED}, never_read),
    ({"pool.workers": 1, "pool.worker_connections": LIMIT, "timeouts.idle_when_full": 0.3},
     let_others_wait),
    ({"pool.workers": 4}, hand_them_over_and_close),
    ({"pool.workers": 4}, reset_them_while_handed_over),
])
def test_the_count_comes_back_however_a_connection_ends(start, settings, end):
    server = start({"limits.connections_per_ip": LIMIT, **settings})
    for _ in range(2):
        clients = []
        for _ in range(LIMIT):  # each with another worker, where there are several
            clients.append(client_from(server, FIRST))
            clients[-1].echo()
        assert is_closed(client_from(server, FIRST), within=seconds(20))
        end(server, clients)
        wait_for(lambda: server.connections() == 0)
    fills_up_again(server)


def fills_up_again(server):
    """Exactly as many from FIRST are admitted as at first: no count was lost or given twice."""
    clients = [client_from(server, FIRST) for _ in range(LIMIT)]
    for client in clients:
        client.echo()
    for _ in range(2):
        assert is_closed(client_from(server, FIRST), within=seconds(20))


def test_the_count_comes_back_when_the_queue_times_out(start):
    settings = {"pool.workers": 1, "pool.worker_connections": 1, "timeouts.queue": 0,
                "timeouts.idle_when_full": 0, "limits.connections_per_ip": LIMIT}
    server = start(settings)
    holder = client_from(server, SECOND)
    holder.echo()
    for _ in range(2):
        waiting = [client_from(server, FIRST) for _ in range(LIMIT)]
        assert is_closed(client_from(server, FIRST), within=seconds(20))
        assert server.figures()[1]["waiting"] == LIMIT
        server.reload(settings | {"timeouts.queue": 0.3})
        for client in waiting:
            client.expect_closed()
        server.reload(settings)
    server.reload({"pool.workers": 1, "pool.worker_connections": 100,
                   "limits.connections_per_ip": LIMIT})
    fills_up_again(server)


def test_the_count_comes_back_when_the_queue_is_full(start):
    server = start({"pool.workers": 1, "pool.worker_connections": 1, "pool.queue_limit": 1,
                    "pool.queue_full": "reject", "timeouts.idle_when_full": 0,
                    "limits.connections_per_ip": LIMIT})
    holder = client_from(server, SECOND)
    holder.echo()
    waiting = client_from(server, FIRST)
    wait_for(lambda: server.figures()[1]["waiting"] == 1)
    for _ in range(2 * LIMIT):
        assert is_closed(client_from(server, FIRST), within=seconds(20))
    queue = server.figures()[1]
    assert (queue["rejected"], queue["too_many"]) == (2 * LIMIT, 0)
    waiting.close()
    holder.close()
    wait_for(lambda: server.connections() == server.figures()[1]["waiting"] == 0)
    server.reload({"pool.workers": 1, "limits.connections_per_ip": LIMIT})
    fills_up_again(server)


def test_who_is_reset_while_waiting_gives_the_count_back(start):
    server = start({"pool.workers": 1, "pool.worker_connections": 1,
                    "timeouts.idle_when_full": 0, "limits.connections_per_ip": LIMIT})
    holder = client_from(server, SECOND)
    holder.echo()
    waiting = [client_from(server, FIRST) for _ in range(LIMIT)]
    wait_for(lambda: server.figures()[1]["waiting"] == LIMIT)
    for client in waiting:
        client.reset()
    holder.close()
    wait_for(lambda: server.connections() == server.figures()[1]["waiting"] == 0)
    server.reload({"pool.workers": 1, "limits.connections_per_ip": LIMIT})
    fills_up_again(server)


def test_2000_addresses_are_each_counted_for_themselves(start):
    need_descriptors(2200)
    server = start({"pool.workers": 2, "limits.connections_per_ip": 1})
    crowd = server.hold(Crowd(server.address, 0))
    for i in range(2000):
        sock = client_from(server, f"127.1.{i // 200}.{i % 200 + 1}").sock
        sock.setblocking(False)
        crowd.sockets[sock.fileno()] = sock
    crowd.exchange()
    assert refusals(server) == (0, 0)
    for i in range(0, 2000, 100):
        source = f"127.1.{i // 200}.{i % 200 + 1}"
        assert is_closed(client_from(server, source), within=seconds(20))
    crowd.close()
    wait_for(lambda: server.connections() == 0)
    assert is_served(server, "127.1.0.1")
