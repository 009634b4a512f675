"""What operators and machines do to a running server: stops at bad moments, clocks that jump."""

import glob
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from clients import Client, Crowd
from harness import (MISSING, again_when_late, before, check_time, needs_plain_build, needs_root,
                     one_line, seconds, wait_for)

TEN_YEARS = 315_360_000
DRAIN = {"timeouts.drain": 0.3}
FAKETIME = "/usr/lib/*/faketime/libfaketimeMT.so.1"


def stop_in_time(server, drain):
    """Sends SIGTERM; the drain wins over whatever goes on, and the exit status is 0."""
    check_time(server.stop(), drain + seconds(1))


def children(server):
    """The processes that the program has started and not reaped."""
    tasks = Path(f"/proc/{server.pid}/task").glob("*/children")
    return " ".join(task.read_text(encoding="ascii") for task in tasks).split()


# The signal comes before, while, and after the file is read and its settings are applied.
MOMENTS = [0, 0.0007, 0.0014, 0.002, 0.003, 0.005]
RESIZES = pytest.mark.parametrize("workers, others", [(4, 4), (8, 1), (1, 8)])


def hang_up_and_stop(server, settings, moment):
    """SIGHUP with these settings, and SIGTERM so many seconds later."""
    server.configure(settings)
    server.send_signal(signal.SIGHUP)
    time.sleep(moment)
    server.send_signal(signal.SIGTERM)


@RESIZES
def test_sigterm_in_a_resize_serves_those_who_are_there(start, workers, others):
    for moment in MOMENTS:
        server = start({"pool.workers": workers, "timeouts.drain": 600})
        crowd = server.hold(Crowd(server.address, 50))
        crowd.exchange()
        hang_up_and_stop(server, {"pool.workers": others, "timeouts.drain": 600}, moment)
        server.log.wait("SIGTERM: draining connections=50 ")
        crowd.exchange()
        crowd.close()
        assert server.wait_exit() == 0


@RESIZES
@again_when_late
def test_sigterm_in_a_resize_ends_at_the_deadline(start, workers, others):
    for moment in MOMENTS[1::2]:
        server = start({"pool.workers": workers, **DRAIN})
        greedy = server.hold(Crowd(server.address, 20))
        greedy.fill(b"x" * 65536, quiet=0.01)
        begin = time.monotonic()
        hang_up_and_stop(server, {"pool.workers": others, **DRAIN}, moment)
        assert server.wait_exit() == 0
        took = time.monotonic() - begin
        server.close_clients()
        assert took >= 0.3
        check_time(took, 0.3 + seconds(1))


@again_when_late
def test_sigterm_in_a_storm_of_reloads(start):
    server = start({"pool.workers": 2, **DRAIN})
    client = server.connect()
    client.echo()
    over = threading.Event()

    def storm():
        while not over.is_set() and server.process.poll() is None:
            server.send_signal(signal.SIGHUP)

    thread = threading.Thread(target=storm)
    thread.start()
    try:
        server.log.wait("ready on ", count=3)
        client.echo()
        stop_in_time(server, 0.3)
    finally:
        over.set()
        thread.join()
    client.expect_closed()


@again_when_late
def test_a_second_sigterm_in_a_reload_ends_it_now(start):
    server = start({"pool.workers": 4, "timeouts.drain": 600})
    crowd = server.hold(Crowd(server.address, 50))
    crowd.exchange()
    server.configure({"pool.workers": 1})
    for number in (signal.SIGHUP, signal.SIGTERM):
        server.send_signal(number)
    server.log.wait("draining")
    took = server.insist()
    crowd.wait_closed(50)
    check_time(took, seconds(1))


@again_when_late
def test_sigterm_in_a_burst_that_fills_the_queue(start):
    """Everyone who was accepted, or was in the backlog, gets the rest of the drain."""
    server = start({"pool.workers": 1, "pool.worker_connections": 10, "pool.queue_limit": 5,
                    "timeouts.idle_when_full": 0, "listen.backlog": 4096, **DRAIN})
    crowd = server.hold(Crowd(server.address, 500))
    stop_in_time(server, 0.3)
    crowd.wait_closed(500)


def test_in_a_drain_those_from_the_backlog_are_served_in_turn(start):
    server = start({"pool.workers": 1, "pool.worker_connections": 10, "pool.queue_limit": 5,
                    "timeouts.idle_when_full": 0, "timeouts.drain": 60})
    crowd = server.hold(Crowd(server.address, 100))
    for sock in crowd.sockets.values():
        sock.send(b"patient")
    wait_for(lambda: server.figures()[1]["waiting"] == 5)
    server.send_signal(signal.SIGTERM)
    while crowd.sockets:
        for sock in crowd.next_answered():
            sock.setblocking(True)
            assert sock.recv(100) == b"patient"
            sock.close()
    assert server.wait_exit() == 0


def test_no_child_and_no_cpu_is_left_after_reloads(start):
    server = start({"pool.workers": 2})
    for _ in range(50):
        server.send_signal(signal.SIGHUP)
    server.log.wait("ready on ", count=2)
    wait_for(lambda: not children(server))
    server.assert_idle(interval=0.5)


def assert_deadlines_hold(server, jump=lambda: None):
    """A silent client goes when it is time, a busy one stays; jump is called in between."""
    busy = server.connect()
    crowd = server.hold(Crowd(server.address, 20))
    earliest = time.monotonic()
    crowd.exchange()
    begin = time.monotonic()
    for _ in range(3):
        time.sleep(0.4)
        jump()
        with before(earliest + IDLE["timeouts.idle"]):
            busy.echo()
            assert not crowd.any_closed(within=0)
    crowd.wait_closed(20)
    now = time.monotonic()
    assert now - earliest >= IDLE["timeouts.idle"]
    check_time(now - begin, IDLE["timeouts.idle"] + seconds(0.5))
    with before(now + IDLE["timeouts.idle"]):
        busy.echo()
        server.assert_idle(interval=0.5)
        busy.echo()
    begin = time.monotonic()
    stop_in_time(server, 0.3)
    assert time.monotonic() - begin >= 0.3


IDLE = {"pool.workers": 1, "timeouts.idle": 2, **DRAIN}


@needs_plain_build
@again_when_late
def test_the_wall_clock_is_moved_by_years(start, tmp_path):
    libraries = glob.glob(FAKETIME)
    if not libraries:
        pytest.skip(MISSING + "libfaketime")
    offset = tmp_path / "offset"
    offset.write_text("+0", encoding="ascii")
    server = start(IDLE, env={"LD_PRELOAD": libraries[0], "FAKETIME_NO_CACHE": "1",
                              "FAKETIME_TIMESTAMP_FILE": str(offset),
                              "FAKETIME_DONT_FAKE_MONOTONIC": "1"})
    offsets = iter(["+10y", "-10y", "+3y"])
    assert_deadlines_hold(
        server, jump=lambda: offset.write_text(next(offsets), encoding="ascii"))


@needs_root
@again_when_late
def test_a_monotonic_clock_of_ten_years(start):
    """As on a machine that has been up for so long: nothing overflows."""
    wrapper = ["unshare", "--time", "--monotonic", str(TEN_YEARS)]
    probe = subprocess.run([*wrapper, "true"], capture_output=True, text=True, timeout=20,
                           check=False)
    if probe.returncode != 0:
        pytest.skip(f"needs a time namespace: {one_line(probe.stderr)}")
    assert_deadlines_hold(start(IDLE, wrapper=wrapper))


@again_when_late
def test_stopped_in_the_drain_and_continued_it_ends_at_once(start):
    server = start({"timeouts.drain": 2})
    client = server.connect()
    client.echo()
    server.send_signal(signal.SIGTERM)
    server.log.wait("draining")
    server.suspend()
    time.sleep(2.1)
    begin = time.monotonic()
    server.send_signal(signal.SIGCONT)
    assert server.wait_exit() == 0
    check_time(time.monotonic() - begin, seconds(0.5))


def test_a_stopped_server_keeps_newcomers_for_later(start):
    server = start({"pool.workers": 1})
    server.suspend()
    clients = [Client.connect(server.address, timeout=seconds(10)) for _ in range(50)]
    for client in clients:
        server.hold(client).send(b"late")
    server.send_signal(signal.SIGCONT)
    for client in clients:
        assert client.receive(4) == b"late"
