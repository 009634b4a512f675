"""Who holds most makes room when others wait: floods that trickle, beside honest clients."""

import time

import pytest

from clients import Client, dial
from floods import Flood
from harness import FULL, again_when_late, check_time, seconds, wait_for

SLOTS, QUEUE = (8192, 1024) if FULL else (1000, 120)
FLOOD = 10400 if FULL else 1300
TRICKLE_S = 4.0 if FULL else 0.5
ROOM = {"pool.workers": 2, "pool.worker_connections": SLOTS // 2, "pool.queue_limit": QUEUE,
        "timeouts.queue": 0}


def from_address(server, source):
    return server.hold(Client(dial(server.address, seconds(20), source)))


def ended_crowded(server):
    workers, queue = server.figures()
    return sum(worker["crowded"] for worker in workers), queue["crowded"]


def is_full(server, waiting):
    workers, queue = server.figures()
    return (sum(worker["connections"] for worker in workers) == SLOTS
            and queue["waiting"] >= waiting)


@again_when_late
@pytest.mark.parametrize("addresses", [1, 10, 160])
def test_a_flood_that_trickles_keeps_nobody_out(start, addresses):
    """With one address the flood leaves room in the queue: connections_per_ip is for the rest."""
    when_full = 5.0 if FULL else 1.0
    server = start({**ROOM, "timeouts.idle_when_full": when_full})
    honest = from_address(server, "127.9.9.9")
    honest.echo()
    spoke = time.monotonic()
    flood = FLOOD if addresses > 1 else SLOTS + QUEUE // 2
    server.hold(Flood(server.address, addresses, flood, TRICKLE_S))
    wait_for(lambda: is_full(server, QUEUE // 2 - 2))
    longest = 0
    for i in range(20):
        begin = time.monotonic()
        newcomer = from_address(server, f"127.9.0.{i + 1}")
        newcomer.echo()
        longest = max(longest, time.monotonic() - begin)
        newcomer.close()
        time.sleep(0.1)
        if time.monotonic() - spoke > when_full * 1.4:
            honest.echo()
            spoke = time.monotonic()
    time.sleep(max(0, spoke + when_full * 1.4 - time.monotonic()))
    honest.echo()
    assert ended_crowded(server)[0] >= 1
    check_time(longest, seconds(1.0))


def test_one_address_alone_crowds_nobody_out(start):
    server = start({**ROOM, "pool.worker_connections": 2, "pool.queue_limit": 2,
                    "timeouts.idle_when_full": 0})
    served = [server.connect() for _ in range(4)]
    for client in served:
        client.echo()
    waiting = [server.connect() for _ in range(4)]  # two of them in the kernel's backlog
    for client in waiting:
        client.send(b"wait")
    wait_for(lambda: server.figures()[1]["waiting"] == 2)
    assert not waiting[0].hears(within=1)
    for client in served:
        client.echo()
    assert ended_crowded(server) == (0, 0)
    for client, next_one in zip(served, waiting):
        client.close()
        assert next_one.receive(4) == b"wait"


def test_an_equal_share_is_not_touched(start):
    server = start({**ROOM, "pool.worker_connections": 3, "pool.queue_limit": 5,
                    "timeouts.idle_when_full": 0, "log.connections": True})
    first = [from_address(server, "127.0.0.2") for _ in range(3)]
    second = [from_address(server, "127.0.0.3") for _ in range(3)]
    for client in first + second:
        client.echo()
    third = [from_address(server, "127.0.0.4") for _ in range(3)]
    for client in third[:2]:
        client.send(b"room")
        assert client.receive(4) == b"room"
    # Two each: the third of the third address would take from those that have as many.
    third[2].send(b"room")
    assert not third[2].hears(within=1)
    assert ended_crowded(server)[0] == 2
    server.log.wait(r"reason=crowded$", count=2)
    for group in (first, second):
        assert sum(client.hears(within=0.1) for client in group) == 1
    for client in third[:2]:
        client.echo()


def test_who_waits_for_a_moment_only_closes_nobody(start):
    server = start({**ROOM, "pool.worker_connections": 1, "timeouts.idle_when_full": 0})
    heavy = [from_address(server, "127.0.0.2") for _ in range(2)]
    for client in heavy:
        client.echo()
    begin = time.monotonic()
    newcomer = from_address(server, "127.0.0.3")
    newcomer.send(b"room")
    assert newcomer.receive(4) == b"room"
    assert time.monotonic() - begin >= 0.5
    assert ended_crowded(server) == (1, 0)


def test_with_reject_a_lighter_one_takes_the_place_of_one_that_waits(start):
    server = start({**ROOM, "pool.worker_connections": 3, "pool.queue_limit": 1,
                    "pool.queue_full": "reject", "timeouts.idle_when_full": 0})
    for _ in range(6):
        from_address(server, "127.0.0.2").echo()
    waiting = from_address(server, "127.0.0.2")
    wait_for(lambda: server.figures()[1]["waiting"] == 1)
    from_address(server, "127.0.0.3").echo()
    waiting.expect_closed()
    assert ended_crowded(server) == (1, 0)
    assert server.figures()[1]["rejected"] == 1
