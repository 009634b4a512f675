"""The open loop: the schedule is kept whatever the server does, and a stall is not hidden."""

import contextlib
import signal
import statistics
import subprocess
import time

import pytest

from echoload import ECHOLOAD, at, close, measure, measure_well, needs_echoload, outcome_of
from harness import PLAIN, environment, needs_plain_build, process_state, seconds, wait_for
from odd_servers import EchoServer, Recording, Silent, Slow, StallingOnce

pytestmark = needs_echoload

STALL_S = 0.5
STALL_US = STALL_S * 1e6


@pytest.fixture
def echopool(start):
    """The service itself, with one worker."""
    return start({"pool.workers": 1})


def test_a_fixed_rate_is_what_comes(echopool):
    report = measure_well(echopool.address, "-r", 4000, "-c", 10, duration=0.5)
    # As they were due; the answers of a moment may come a little after the end.
    assert report["latency_us"]["count"] == 2000
    assert close(report["echoes_per_s"], 4000, 0.3) and close(report["echoes"], 2000, 0.3)
    assert report["options"]["rate"] == 4000 and not report["options"]["poisson"]
    assert report["fairness"] > 0.9


def test_a_random_rate_is_what_comes_on_average(echopool):
    report = measure_well(echopool.address, "-r", 4000, "-P", "-c", 10, "-t", 2, duration=0.5)
    assert close(report["latency_us"]["count"], 2000, 0.1)
    assert close(report["echoes_per_s"], 4000, 0.3) and report["options"]["poisson"]


@pytest.mark.parametrize("options, least, most", [((), 0, 0.06), (("-P",), 0.06, 0.5)])
def test_gaps_are_equal_or_exponential(options, least, most):
    """Of equal gaps none, of exponential ones 22 % are half as long again as the mean.

    Where the machine stands still for a moment, many become short, and one long.
    """
    with Recording() as server:
        measure_well(server.address, "-r", 100, "-c", 1, *options, duration=0.7)
        gaps = [after - before for before, after in zip(server.moments, server.moments[1:])]
    share = sum(gap * 100 > 1.5 for gap in gaps) / len(gaps)
    assert least <= share <= most
    assert options or 0.5 < 100 * statistics.median(gaps) < 1.5


def test_a_stall_is_seen_by_every_message_that_was_due_in_it():
    with StallingOnce(0.3, STALL_S) as server:
        latency = measure_well(server.address, "-r", 250, "-c", 4, duration=1.2)["latency_us"]
    # Two in five messages were due in the stall.
    assert latency["count"] > 250
    assert 0.95 * STALL_US < latency["p99_9"] <= latency["max"] < seconds(1.5 * STALL_US)
    assert latency["p90"] > 0.5 * STALL_US > latency["p50"]


def test_a_stall_is_one_slow_message_in_the_closed_loop():
    with StallingOnce(0.3, STALL_S) as server:
        latency = measure_well(server.address, "-c", 1, duration=1.2)["latency_us"]
    assert latency["count"] > 200
    assert 0.95 * STALL_US < latency["max"] < seconds(1.5 * STALL_US)
    assert latency["p99"] < 0.1 * STALL_US


def test_arrivals_are_new_connections_on_a_schedule(echopool):
    report = measure_well(echopool.address, "-a", 400, "-c", 100, duration=0.5)
    assert report["schedule"]["sent_share"] > 0.7
    due = 200 * report["schedule"]["sent_share"]
    assert close(report["connect_us"]["count"], due, 0.02)
    assert close(report["opened_per_s"], 2 * due, 0.3)
    assert close(report["echoes"], due, 0.3) and report["options"]["messages"] == 1
    assert report["fairness"] is None
    wait_for(lambda: echopool.connections() == 0)
    assert echopool.figures()[1]["accepted"] == report["opened"]


def test_arrivals_of_several_messages(echopool):
    report = measure_well(echopool.address, "-a", 200, "-m", 5, "-P", "-c", 100, duration=0.5)
    assert close(report["opened_per_s"], 200, 0.4)
    assert close(report["echoes_per_s"], 5 * report["opened_per_s"], 0.3)


def test_arrivals_wait_when_all_connections_are_in_use():
    with Slow() as server:
        report = measure_well(server.address, "-a", 1000, "-c", 5, "-T", 0.5)
    assert 0 < report["opened_per_s"] < 1.5 * 5 / server.DELAY_S
    assert not report["schedule"]["kept"]


def test_connect_latency_counts_a_stall_from_the_schedule():
    with StallingOnce(0.3, STALL_S) as server:
        report = measure_well(server.address, "-a", 100, "-c", 2, duration=1.2)
    # The one message of each was due with it.
    for latency in (report["connect_us"], report["latency_us"]):
        assert latency["max"] > 0.95 * STALL_US
        assert latency["p90"] > 0.5 * STALL_US > latency["p50"]
    # All connections were in use meanwhile.
    assert report["schedule"]["late_max_us"] < 0.5 * STALL_US


@needs_plain_build
def test_a_schedule_that_is_kept_is_told(echopool):
    for _ in range(10):
        schedule = measure_well(echopool.address, "-r", 500, "-c", 5)["schedule"]
        kept = schedule["late_share"] <= 0.01 and schedule["sent_share"] >= 0.99
        assert schedule["kept"] == kept
        if kept:
            return
        # Other programs held the CPUs for a moment.
    raise AssertionError("it was never kept")


def test_a_fixed_schedule_has_no_excuse_of_chance():
    with Slow() as server:
        # Of 30 a second it answers 20.
        schedule = measure_well(server.address, "-r", 30, "-c", 1, duration=0.8)["schedule"]
    assert 0 < schedule["sent_share"] < 0.9 and schedule["kept"] is False


def test_a_message_that_was_due_just_before_the_end_is_not_starved():
    """Four connections of twenty have a message in the time; the last is answered after it."""
    with Slow() as server:
        report = measure_well(server.address, "-r", 20, "-c", 20, duration=0.2)
    assert report["latency_us"]["count"] == 4
    assert report["starved"] == 0 and report["fairness"] == 1


def test_a_slow_server_is_not_the_generator_s_fault():
    with Slow() as server:
        report = measure_well(server.address, "-r", 100, "-c", 1, "-T", seconds(0.5), duration=0.7)
    # It answers 20 a second, so the messages queue up for as long as the run lasts.
    assert report["latency_us"]["p90"] > 0.3e6
    assert close(report["echoes_per_s"], 1 / Slow.DELAY_S, 0.3 if PLAIN else 0.8)
    assert report["schedule"]["sent_share"] < 0.4
    # A slow build is held up itself.
    assert not PLAIN or report["schedule"]["late_share"] < 0.3


@pytest.mark.parametrize("options", [(), ("-P", "-p", 64)])
def test_a_rate_that_no_generator_can_keep_is_told(echopool, options):
    report = measure_well(echopool.address, "-r", 100_000_000, "-c", 20, "-T", 0.2, *options)
    assert report["schedule"]["kept"] is False and report["schedule"]["sent_share"] < 0.9
    assert 1000 < report["echoes_per_s"] < 50_000_000
    assert report["latency_us"]["p50"] is None or report["latency_us"]["p50"] > 1000


@contextlib.contextmanager
def loading(server, *options):
    """A generator that runs meanwhile."""
    process = subprocess.Popen(
        [ECHOLOAD, "-q", "-j", "-", *map(str, options), at(server.address)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment())
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def hold_up(process, pause):
    """Stops a generator for so many seconds; returns for how many it was, and its report."""
    begin = time.monotonic()
    process.send_signal(signal.SIGSTOP)
    time.sleep(pause)
    process.send_signal(signal.SIGCONT)
    wait_for(lambda: process_state(process.pid) != "T")
    held_s = time.monotonic() - begin
    out, err = process.communicate(timeout=seconds(10))
    ended = subprocess.CompletedProcess([], process.returncode, out, err)
    return held_s, outcome_of(ended).report


@pytest.mark.parametrize("options", [("-r", 500), ("-r", 500, "-p", 8, "-P"), ("-a", 100)])
def test_a_generator_that_was_held_up_says_so(options):
    pause = 0.4
    with EchoServer() as server, \
            loading(server, *options, "-c", 50, "-w", 0, "-d", 1.2) as process:
        wait_for(lambda: server.received > 1280)
        held_s, report = hold_up(process, pause)
    assert report["schedule"]["kept"] is False
    assert 0.8e6 * pause < report["schedule"]["late_max_us"] < 1e6 * (held_s + seconds(0.1))
    assert report["schedule"]["late_share"] > 0.1
    assert report["latency_us"]["p99"] > 0.7e6 * pause


@needs_plain_build
@pytest.mark.parametrize("options", [("-r", 1000, "-c", 4), ("-r", 1000, "-c", 2, "-p", 8),
                                     ("-a", 400, "-c", 4)])
def test_a_stall_is_not_the_generator_s_though_it_was_held_up_in_it(options):
    with StallingOnce(0.3, 1.0) as server, \
            loading(server, *options, "-w", 0, "-d", 2.3) as process:
        wait_for(lambda: server.first_s and server.age_s() > 0.6)
        _, report = hold_up(process, 0.2)
    assert report["latency_us"]["max"] > 0.95e6
    # All connections were full when it was held up.
    assert report["schedule"]["late_max_us"] < 0.15e6


def test_a_schedule_of_which_nothing_was_sent_is_not_kept():
    with Silent() as server:
        outcome = measure(server.address, "-r", 10, "-c", 4, "-t", 4, "-T", 1.5, duration=0.5,
                          warmup=0.5)
    assert outcome.status == 1
    assert outcome.report["schedule"]["sent_share"] == 0
    assert outcome.report["schedule"]["kept"] is False


def test_a_schedule_that_has_nothing_due_is_neither_kept_nor_broken():
    with EchoServer() as server:
        outcome = measure(server.address, "-r", 0.5, "-c", 1)
    assert outcome.status == 1 and outcome.errors == {}
    assert outcome.said == ["echoload: no answer came"]
    assert set(outcome.report["schedule"].values()) == {None}


def test_a_schedule_that_is_far_behind_does_not_keep_it_from_ending():
    """The second connection begins when a thousand million moments of the schedule are over."""
    with EchoServer() as server, \
            loading(server, "-r", 1e9, "-P", "-c", 2, "-C", 1, "-T", 0.2, "-d", 60) as process:
        wait_for(lambda: server.accepted == 2, timeout=2.5)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=seconds(2))


def test_the_closed_loop_has_no_schedule():
    with EchoServer() as server:
        assert measure_well(server.address, "-c", 2, duration=0.1)["schedule"] is None
