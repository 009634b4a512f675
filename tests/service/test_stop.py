"""SIGTERM and SIGINT: the drain, its deadline, and the second signal."""

import signal
import time

import pytest

from clients import Crowd, need_descriptors
from harness import (PLAIN, again_when_late, before, check_time, key_values, seconds,
                     wait_for)

STOPS = [signal.SIGTERM, signal.SIGINT]


def closed_lines(server):
    return server.log.matching("connection closed")


@pytest.mark.parametrize("number", STOPS)
@again_when_late
def test_without_clients_it_stops_at_once(start, number):
    check_time(start().stop(number), seconds(1))


@again_when_late
def test_after_clients_it_stops_at_once(start):
    server = start({"pool.workers": 4})
    crowd = Crowd(server.address, 100)
    crowd.exchange()
    crowd.close()
    wait_for(lambda: server.connections() == 0)
    check_time(server.stop(), seconds(1))


@pytest.mark.parametrize("number", STOPS)
@again_when_late
def test_drain_echoes_on_refuses_new_ones_and_ends_at_the_deadline(start, number):
    drain = seconds(1)
    server = start({"timeouts.drain": drain, "log.connections": True})
    client = server.connect()
    name = client.name
    client.echo()
    begin = time.monotonic()
    server.send_signal(number)
    try:
        with before(begin + drain):
            wait_for(server.refuses, what="new connections refused")
            client.echo(b"still served")
        client.expect_closed()
    finally:
        assert server.wait_exit() == 0
    took = time.monotonic() - begin
    assert drain * 0.9 <= took
    check_time(took, drain + seconds(1))
    [closed] = [line for line in closed_lines(server) if f"peer={name} " in line]
    assert "reason=drain" in closed


def test_the_draining_line_counts_what_is_held_and_what_waits(start):
    server = start({"pool.workers": 2, "pool.worker_connections": 1, "timeouts.drain": 600,
                    "timeouts.idle_when_full": 0})
    server.hold(Crowd(server.address, 2)).exchange()
    server.hold(Crowd(server.address, 5))
    wait_for(lambda: server.figures()[1]["waiting"] == 5)
    server.send_signal(signal.SIGTERM)
    line = server.log.wait("SIGTERM: draining .*")[0][0]
    assert (key_values(line)["connections"], key_values(line)["waiting"]) == (2, 5)
    line_again = server.log.mark()
    server.insist()
    line = server.log.wait("SIGTERM: closing .*", start=line_again)[0][0]
    assert (key_values(line)["connections"], key_values(line)["waiting"]) == (2, 5)


@pytest.mark.parametrize("number", STOPS)
def test_whoever_is_in_the_backlog_at_the_stop_is_served(start, number):
    need_descriptors(1100)
    server = start({"pool.workers": 2, "timeouts.drain": 600})
    server.suspend()
    crowd = server.hold(Crowd(server.address, 900))
    for sock in crowd.sockets.values():
        sock.send(b"before the stop")
    server.send_signal(number)
    server.send_signal(signal.SIGCONT)
    assert_each_gets(crowd, b"before the stop")
    crowd.close()
    assert server.wait_exit() == 0


def test_whoever_is_in_the_backlog_of_a_full_server_at_the_stop_is_served(start):
    """The acceptor sleeps until there is room in the queue, with more than a turn's to accept."""
    server = start({"pool.workers": 1, "pool.worker_connections": 1, "pool.queue_limit": 1,
                    "timeouts.drain": 600, "timeouts.idle_when_full": 0})
    holder = server.connect()
    holder.echo()
    crowd = [server.connect() for _ in range(300)]
    for client in crowd:
        client.send(b"patient")
    wait_for(lambda: server.figures()[1]["waiting"] == 1)
    server.send_signal(signal.SIGTERM)
    wait_for(server.refuses)
    holder.close()
    for client in crowd:
        assert client.receive(7) == b"patient"
        client.close()
    assert server.wait_exit() == 0


def assert_each_gets(crowd, expected):
    """Every client of a crowd hears exactly this."""
    for sock in crowd.sockets.values():
        sock.settimeout(seconds(20))
        got = b""
        while len(got) < len(expected):
            part = sock.recv(len(expected) - len(got))
            assert part, "closed unserved"
            got += part
        assert got == expected


@again_when_late
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
    check_time(time.monotonic() - begin, seconds(1))
    assert all("reason=client" in line for line in closed_lines(server))


@pytest.mark.parametrize("first", STOPS)
@pytest.mark.parametrize("second", STOPS)
@again_when_late
def test_a_second_signal_ends_it_now(start, first, second):
    server = start({"timeouts.drain": 600})
    clients = server.hold(Crowd(server.address, 50))
    clients.exchange()
    server.send_signal(first)
    wait_for(server.refuses)
    took = server.insist(second)
    clients.wait_closed(50)
    check_time(took, seconds(1))


def test_two_signals_to_stop_at_once_are_one_wish(start):
    server = start({"timeouts.drain": 600})
    client = server.connect()
    client.echo()
    server.suspend()  # so that it finds both
    for number in (*STOPS, signal.SIGCONT):
        server.send_signal(number)
    server.log.wait("draining")
    # Every signal is answered in turn, so those before this one were.
    wait_for(lambda: server.connections() == 1)
    client.echo()
    assert not server.log.matching("closing")
    client.close()
    assert server.wait_exit() == 0


def test_a_stop_by_timeout_drains(launch):
    """timeout(1) signals its child, and then its group with the child in it."""
    server = launch({"timeouts.drain": 600}, wrapper=["timeout", "--preserve-status", "600"])
    host, port = server.log.wait(r"ready on (.*):(\d+);")[0].groups()
    client = server.connect((host, int(port)))
    client.echo()
    server.send_signal(signal.SIGTERM)
    server.log.wait("draining")
    client.echo()
    assert not server.log.matching("closing")
    client.close()
    assert server.wait_exit() == 0


@again_when_late
def test_drain_0_closes_at_once(start):
    server = start({"timeouts.drain": 0})
    client = server.connect()
    client.echo()
    took = server.stop()
    client.expect_closed()
    check_time(took, seconds(1))


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


@again_when_late
def test_the_queue_timeout_holds_in_a_drain_too(start):
    server = start({"pool.workers": 1, "pool.worker_connections": 1, "timeouts.idle_when_full": 0,
                    "timeouts.queue": seconds(1.5), "timeouts.drain": 600})
    holder = server.connect()
    holder.echo()
    with before(time.monotonic() + seconds(1.5)):
        waiting = server.hold(Crowd(server.address, 5))
        wait_for(lambda: server.figures()[1]["waiting"] == 5)
    server.send_signal(signal.SIGTERM)
    waiting.wait_closed(5)
    assert server.figures()[1]["expired"] == 5
    holder.echo()
    holder.close()
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


def test_every_accepted_line_has_its_closed_line(start):
    server = start({"pool.workers": 1, "pool.worker_connections": 1, "log.connections": True,
                    "timeouts.drain": seconds(0.3), "timeouts.idle_when_full": 0})
    served = server.connect()
    served.echo()
    waiting = [server.connect() for _ in range(10)]
    wait_for(lambda: server.figures()[1]["waiting"] == 10)
    server.stop()
    accepted = [key_values(line)["peer"] for line in server.log.matching("connection accepted")]
    closed = {key_values(line)["peer"]: key_values(line) for line in closed_lines(server)}
    assert sorted(accepted) == sorted(closed) and len(closed_lines(server)) == 11
    assert set(accepted) == {client.name for client in [served, *waiting]}
    assert {line["reason"] for line in closed.values()} == {"drain"}


@again_when_late
def test_the_acceptor_that_waits_for_room_is_stopped_too(start):
    server = start({"pool.workers": 1, "pool.worker_connections": 1, "pool.queue_limit": 1,
                    "timeouts.drain": seconds(0.5), "timeouts.idle_when_full": 0})
    served = server.connect()
    served.echo()
    server.hold(Crowd(server.address, 10))
    wait_for(lambda: server.figures()[1]["waiting"] == 1)
    check_time(server.stop(), seconds(1.5))


@again_when_late
def test_a_greedy_client_does_not_hold_up_the_deadline(start):
    server = start({"timeouts.drain": seconds(0.5)})
    greedy = server.hold(Crowd(server.address, 5))
    greedy.fill(b"x" * 65536, quiet=0.1)
    check_time(server.stop(), seconds(1.5))


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


@again_when_late
def test_sigterm_in_a_burst_of_connects_ends_well(start):
    server = start({"timeouts.drain": seconds(0.2), "listen.backlog": 4096})
    crowd = server.hold(Crowd(server.address, 1000, wait=False))
    took = server.stop()
    crowd.wait_closed(len(crowd.sockets))
    check_time(took, 2 if PLAIN else seconds(2))
