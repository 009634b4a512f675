"""The textbook pool (one client a worker), its queue, and what happens when that is full."""

import errno
import os
import signal
import time

import pytest

import preload
from clients import Crowd
from harness import again_when_late, check_time, key_values, needs_epoll, seconds, wait_for

TEXTBOOK = {"pool.worker_connections": 1, "timeouts.idle_when_full": 0}


def waiting(server):
    return server.figures()[1]["waiting"]


def test_the_third_client_of_two_workers_waits_until_one_leaves(start):
    server = start({"pool.workers": 2, **TEXTBOOK})
    first, second = server.connect(), server.connect()
    first.echo()
    second.echo()
    third = server.connect()
    third.send(b"third")
    wait_for(lambda: waiting(server) == 1)
    assert not third.hears(within=0.3)
    first.echo()
    second.echo()
    first.close()
    assert third.receive(5) == b"third"
    second.echo()


def test_one_who_waits_is_served_when_a_worker_that_serves_others_gets_room(start):
    server = start({"pool.workers": 1, **TEXTBOOK, "pool.worker_connections": 3})
    served = [server.connect() for _ in range(3)]
    for client in served:
        client.echo()
    fourth = server.connect()
    fourth.send(b"fourth")
    wait_for(lambda: waiting(server) == 1)
    served.pop().close()
    assert fourth.receive(6) == b"fourth"
    for client in served:
        client.echo()


def test_those_who_wait_are_served_in_the_order_in_which_they_came(start):
    server = start({"pool.workers": 1, **TEXTBOOK})
    holder = server.connect()
    holder.echo()
    queue = []
    for i in range(5):
        queue.append(server.connect())
        queue[-1].send(b"%d" % i)
        wait_for(lambda: waiting(server) == len(queue))
    holder.close()
    for i, client in enumerate(queue):
        assert client.receive(1) == b"%d" % i
        assert not any(later.hears(within=0) for later in queue[i + 1:])
        client.close()


def test_a_wait_in_the_queue_shows_in_the_figures(start):
    server = start({"pool.workers": 1, **TEXTBOOK})
    holder, second = server.connect(), server.connect()
    holder.echo()
    second.send(b"x")
    wait_for(lambda: waiting(server) == 1)
    time.sleep(0.2)
    holder.close()
    second.receive(1)
    queue = server.figures()[1]
    assert queue["wait_us_max"] >= 200_000
    assert queue["wait_us_p50"] <= queue["wait_us_p99"] <= queue["wait_us_max"]
    again = server.figures()[1]
    assert [again[key] for key in again if key.startswith("wait_us")] == [0, 0, 0]


def test_reject_closes_exactly_36_of_40(start):
    server = start({"pool.workers": 1, "pool.queue_limit": 4, "pool.queue_full": "reject",
                    **TEXTBOOK})
    served = server.connect()
    served.echo()
    crowd = server.hold(Crowd(server.address, 40))
    assert crowd.wait_closed(36) == 36
    served.echo()
    assert not crowd.any_closed(within=0.3)
    queue = server.figures()[1]
    assert (queue["rejected"], queue["waiting"]) == (36, 4)
    for sock in crowd.sockets.values():
        sock.send(b"my turn")
    served.echo()
    served.close()
    for _ in range(4):
        [sock] = crowd.next_answered()
        assert sock.recv(100) == b"my turn"
        sock.close()


def test_wait_stops_accepting_and_everybody_is_served_in_the_end(start):
    server = start({"pool.workers": 1, "pool.queue_limit": 4, **TEXTBOOK})
    holder = server.connect()
    holder.echo()
    crowd = [server.connect() for _ in range(20)]
    for client in crowd:
        client.send(b"patient")
    wait_for(lambda: waiting(server) == 4)
    queue = server.figures()[1]
    assert (queue["accepted"], queue["rejected"], queue["waiting"]) == (5, 0, 4)
    server.assert_idle()
    holder.close()
    for client in crowd:
        assert client.receive(7) == b"patient"
        client.close()
    assert server.figures()[1]["accepted"] == 21


@pytest.mark.parametrize("queue_full", ["wait", "reject"])
def test_a_crowd_at_one_address_does_not_hold_up_another_address(start, queue_full):
    """Both are there when the acceptor goes on: who comes to the second must not wait for all."""
    server = start({"listen.addresses": ["127.0.0.1", "127.0.0.2"], "log.connections": True,
                    "pool.queue_full": queue_full})
    server.suspend()
    server.hold(Crowd(server.addresses[0], 400))
    server.connect(server.addresses[1])
    server.send_signal(signal.SIGCONT)
    server.log.wait("connection accepted", count=401)
    places = [key_values(line)["local"] for line in server.log.matching("connection accepted")]
    assert places.index("127.0.0.2:%d" % server.addresses[1][1]) <= 64


def test_a_crowd_at_one_address_does_not_take_all_the_room_that_timeouts_make(start):
    """Room comes only as the queue's timeout passes, and there is always somebody for it."""
    server = start({"listen.addresses": ["127.0.0.1", "127.0.0.2"], "log.connections": True,
                    "pool.workers": 1, "pool.queue_limit": 1, **TEXTBOOK, "timeouts.queue": 0.05})
    holder = server.connect()
    holder.echo()
    server.suspend()
    server.hold(Crowd(server.addresses[0], 30))
    server.connect(server.addresses[1])
    server.send_signal(signal.SIGCONT)
    server.log.wait("connection accepted", count=32)
    places = [key_values(line)["local"] for line in server.log.matching("connection accepted")]
    assert places.index("127.0.0.2:%d" % server.addresses[1][1]) <= 15


@needs_epoll
def test_one_that_cannot_be_watched_makes_room_for_the_next(start, tmp_path):
    """A full worker gets room, and the first that waits fails: the second must not be forgotten."""
    # The bell's is the first, then those of the two held; the fourth is the first waiting one's.
    server = start({"pool.workers": 1, **TEXTBOOK, "pool.worker_connections": 2,
                    "log.connections": True},
                   env=preload.build(tmp_path) | {"FAIL_EPOLL_ADD": "4"})
    stays, leaves = server.connect(), server.connect()
    stays.echo()
    leaves.echo()
    unlucky, lucky = server.connect(), server.connect()
    name = unlucky.name
    wait_for(lambda: waiting(server) == 2)
    lucky.send(b"lucky")
    leaves.close()
    unlucky.expect_closed()
    assert lucky.receive(5) == b"lucky"
    stays.echo()
    server.log.wait(f"connection closed peer={name} .*reason=error .*{os.strerror(errno.ENOSPC)}")


@pytest.mark.parametrize("queue_full", ["wait", "reject"])
@again_when_late
def test_a_full_server_burns_no_cpu_and_stops_at_once_when_all_leave(start, queue_full):
    server = start({"pool.workers": 2, "pool.queue_limit": 1, "pool.queue_full": queue_full,
                    **TEXTBOOK})
    for _ in range(2):
        server.connect().echo()
    server.hold(Crowd(server.address, 50))
    wait_for(lambda: waiting(server) == 1)
    server.assert_idle()
    server.close_clients()
    check_time(server.stop(), seconds(2))
