"""SIGTERM and SIGINT: the drain, its deadline, and the second signal."""

import signal
import time

import pytest

from clients import Crowd
from harness import PLAIN, seconds, wait_for

STOPS = [signal.SIGTERM, signal.SIGINT]


def closed_lines(server):
    return server.log.matching("connection closed")


@pytest.mark.parametrize("number", STOPS)
def test_without_clients_it_stops_at_once(start, number):
    assert start().stop(number) < seconds(1)


def test_after_clients_it_stops_at_once(start):
    server = start({"pool.workers": 4})
    crowd = Crowd(server.address, 100)
    crowd.exchange()
    crowd.close()
    wait_for(lambda: server.connections() == 0)
    assert server.stop() < seconds(1)


@pytest.mark.parametrize("number", STOPS)
def test_drain_echoes_on_refuses_new_ones_and_ends_at_the_deadline(start, number):
    drain = seconds(1)
    server = start({"timeouts.drain": drain, "log.connections": True})
    client = server.connect()
    name = client.name
    client.echo()
    begin = time.monotonic()
    server.send_signal(number)
    wait_for(server.refuses, what="new connections refused")
    client.echo(b"still served")
    client.expect_closed()
    assert server.wait_exit() == 0
    took = time.monotonic() - begin
    assert drain * 0.9 <= took <= drain + seconds(1)
    [closed] = [line for line in closed_lines(server) if f"peer={name} " in line]
    assert "reason=drain" in closed


def test_drain_ends_when_the_last_client_leaves(start):
    server = start({"timeouts.drain": 600, "log.connections": True})
    first, second = server.connect(), server.connect()
    first.echo()
    second.echo()
    server.send_signal(signal.SIGTERM)
    wait_for(server.refuses)
    first.close()
    second.echo()
    second.finish()
    second.expect_eof()
    begin = time.monotonic()
    assert server.wait_exit() == 0
    assert time.monotonic() - begin < seconds(1)
    assert all("reason=client" in line for line in closed_lines(server))


@pytest.mark.parametrize("first", STOPS)
@pytest.mark.parametrize("second", STOPS)
def test_a_second_signal_ends_it_now(start, first, second):
    server = start({"timeouts.drain": 600})
    clients = server.hold(Crowd(server.address, 50))
    clients.exchange()
    server.send_signal(first)
    wait_for(server.refuses)
    assert server.stop(second) < seconds(1)
    clients.wait_closed(50)


def test_drain_0_closes_at_once(start):
    server = start({"timeouts.drain": 0})
    client = server.connect()
    client.echo()
    assert server.stop() < seconds(1)
    client.expect_closed()


@pytest.mark.parametrize("workers", [1, 3])
def test_drain_serves_what_waits_in_the_queue(start, workers):
    server = start({"pool.workers": workers, "pool.worker_connections": 1,
                    "timeouts.drain": 600, "timeouts.idle_when_full": 0})
    served = [server.connect() for _ in range(workers)]
    for client in served:
        client.echo()
    waiting = []
    for i in range(3):
        waiting.append(server.connect())
        waiting[i].send(b"%d" % i)
        wait_for(lambda: server.figures()[1]["waiting"] == len(waiting))
    server.send_signal(signal.SIGTERM)
    wait_for(server.refuses)
    served[0].close()
    for i, client in enumerate(waiting):
        assert client.receive(1) == b"%d" % i
        client.echo()
        client.close()
    for client in served[1:]:
        client.echo()
        client.close()
    assert server.wait_exit() == 0


def test_what_waits_in_the_queue_is_closed_at_the_deadline(start):
    server = start({"pool.workers": 1, "pool.worker_connections": 1,
                    "timeouts.drain": seconds(0.5), "timeouts.idle_when_full": 0})
    served = server.connect()
    served.echo()
    waiting = server.hold(Crowd(server.address, 10))
    wait_for(lambda: server.figures()[1]["waiting"] == 10)
    server.send_signal(signal.SIGTERM)
    waiting.wait_closed(10)
    assert server.wait_exit() == 0


def test_the_acceptor_that_waits_for_room_is_stopped_too(start):
    server = start({"pool.workers": 1, "pool.worker_connections": 1, "pool.queue_limit": 1,
                    "timeouts.drain": seconds(0.5), "timeouts.idle_when_full": 0})
    served = server.connect()
    served.echo()
    server.hold(Crowd(server.address, 10))
    wait_for(lambda: server.figures()[1]["waiting"] == 1)
    assert server.stop() < seconds(1.5)


def test_a_greedy_client_does_not_hold_up_the_deadline(start):
    server = start({"timeouts.drain": seconds(0.5)})
    greedy = server.hold(Crowd(server.address, 5))
    greedy.fill(b"x" * 65536, quiet=0.1)
    assert server.stop() < seconds(1.5)


def test_drain_waits_without_cpu(start):
    server = start({"timeouts.drain": 600})
    crowd = server.hold(Crowd(server.address, 20))
    crowd.exchange()
    server.send_signal(signal.SIGTERM)
    wait_for(server.refuses)
    server.assert_idle()
    crowd.exchange()
    crowd.close()
    assert server.wait_exit() == 0


def test_sigterm_in_a_burst_of_connects_ends_well(start):
    server = start({"timeouts.drain": seconds(0.2), "listen.backlog": 4096})
    crowd = server.hold(Crowd(server.address, 1000, wait=False))
    took = server.stop()
    assert not PLAIN or took < 2
    crowd.wait_closed(len(crowd.sockets))
