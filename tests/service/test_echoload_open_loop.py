"""The open loop: the schedule is kept whatever the server does, and a stall is not hidden."""

import signal
import time

import pytest

from echoload import (close, distribution, interrupted, loading, measure, measure_well,
                      needs_echoload)
from harness import process_state, seconds, wait_for
from odd_servers import EchoServer, Held, Recording, Silent, Slow, StallingOnce

pytestmark = needs_echoload

STALL_S = 0.5
STALL_US = STALL_S * 1e6


@pytest.fixture
def echopool(start):
    """The service itself, with one worker."""
    return start({"pool.workers": 1})


def echoes_of(server):
    """How many messages of 64 bytes the service has received, when all its clients have gone."""
    wait_for(lambda: server.connections() == 0)
    return server.figures()[0][0]["received_bytes"] / 64


def test_a_fixed_rate_is_what_comes(echopool):
    report = measure_well(echopool.address, "-r", 4000, "-c", 10, duration=0.5, warmup=0)
    # As they were due; the answers of a moment may come a little after the end.
    assert report["latency_us"]["count"] == 2000
    assert report["echoes"] <= echoes_of(echopool) >= 2000
    assert report["options"]["rate"] == 4000 and not report["options"]["poisson"]
    # Each connection had as many to send, but for one at either edge.
    assert report["fairness"] >= 198 / 201 or not report["schedule"]["kept"]


def test_a_random_rate_is_what_comes_on_average(echopool):
    report = measure_well(echopool.address, "-r", 4000, "-P", "-c", 10, "-t", 2, duration=0.5)
    # Of so many, that is more than four times their usual deviation.
    assert close(report["latency_us"]["count"], 2000, 0.1)
    assert report["echoes"] <= echoes_of(echopool) and report["options"]["poisson"]


def test_the_gaps_of_a_fixed_rate_are_equal():
    """None of the messages comes before its moment, and not all of them come late and together."""
    begin = time.monotonic()
    with Recording() as server:
        report = measure_well(server.address, "-r", 100, "-c", 1, duration=0.5)
        moments = server.moments
    assert report["latency_us"]["count"] == 50 <= len(moments)
    assert all(moment >= begin + number / 100 for number, moment in enumerate(moments))
    gaps = [after - before for before, after in zip(moments, moments[1:])]
    assert any(0.5 < 100 * gap < 1.5 for gap in gaps), gaps


def test_the_gaps_of_a_random_rate_are_not():
    """Equal ones would have the same number of messages due in each run."""
    with EchoServer() as server:
        counts = [measure_well(server.address, "-r", 2000, "-P", "-c", 4, duration=0.2,
                               warmup=0)["latency_us"]["count"] for _ in range(3)]
    # With chance at work, that each is the mean happens once in 100,000 times.
    assert counts != [400, 400, 400]


def slow_messages(file):
    """How many messages took more than half of the stall."""
    return sum(count for us, count, _ in distribution(file) if us > 0.5 * STALL_US)


def test_a_stall_is_seen_by_every_message_that_was_due_in_it(tmp_path):
    begin = time.monotonic()
    with StallingOnce(0.3, STALL_S) as server:
        latency = measure_well(server.address, "-r", 250, "-c", 4, "--hist", tmp_path / "hist",
                               duration=1.2, warmup=0)["latency_us"]
    assert latency["count"] == 300
    assert 0.95 * STALL_US < latency["p99_9"] <= latency["max"] < 1e6 * (time.monotonic() - begin)
    # All that were due in the first half of it.
    assert 0.95 * 250 * STALL_S / 2 < slow_messages(tmp_path / "hist") < 300
    assert latency["p90"] > 0.5 * STALL_US


def test_a_stall_is_one_slow_message_in_the_closed_loop(tmp_path):
    for _ in range(5):
        begin = time.monotonic()
        with StallingOnce(0.3, STALL_S) as server:
            report = measure_well(server.address, "-c", 1, "--hist", tmp_path / "hist",
                                  duration=1.2, warmup=0)
        latency = report["latency_us"]
        # A client that other programs held up asks in the middle of the stall.
        if latency["max"] > 0.95 * STALL_US:
            break
    assert 0.95 * STALL_US < latency["max"] < 1e6 * (time.monotonic() - begin)
    # One after the other, there is no time for more of them.
    assert 1 <= slow_messages(tmp_path / "hist") <= 1 + (1.2 - STALL_S) / (STALL_S / 2)
    assert latency["count"] > 1


def test_arrivals_are_new_connections_on_a_schedule(echopool):
    # There is always one that is free.
    report = measure_well(echopool.address, "-a", 400, "-c", 300, duration=0.5, warmup=0.1)
    # A generator that was held up across the end tells what it did not send in time.
    count = report["latency_us"]["count"]
    assert round(200 * report["schedule"]["sent_share"]) <= count <= 200
    assert report["connect_us"]["count"] == count
    assert report["opened"] >= count > 0 and report["options"]["messages"] == 1
    assert report["echoes"] <= report["opened"]
    assert report["opened_per_s"] * report["seconds"] < report["opened"] + 0.5
    assert report["fairness"] is None
    wait_for(lambda: echopool.connections() == 0)
    assert echopool.figures()[1]["accepted"] == report["opened"]


def test_arrivals_of_several_messages(echopool):
    report = measure_well(echopool.address, "-a", 200, "-m", 5, "-P", "-c", 300, duration=0.5)
    # 100 on average, give or take more than four times their usual deviation.
    assert close(report["connect_us"]["count"], 100, 0.45)
    assert echoes_of(echopool) == 5 * report["opened"]
    assert echopool.figures()[1]["accepted"] == report["opened"]


def test_arrivals_wait_when_all_connections_are_in_use():
    with Slow() as server:
        report = measure_well(server.address, "-a", 1000, "-c", 5)
    # Each connection answers once in the delay, and once more at an edge.
    most = 5 * (1 + report["seconds"] / server.DELAY_S)
    assert report["opened"] > 0 and report["opened_per_s"] * report["seconds"] <= most + 0.5
    assert not report["schedule"]["kept"]


def test_connect_latency_counts_a_stall_from_the_schedule():
    begin = time.monotonic()
    with StallingOnce(0.3, STALL_S) as server:
        report = measure_well(server.address, "-a", 100, "-c", 2, duration=1.2, warmup=0)
    # The one message of each was due with it.
    for latency in (report["connect_us"], report["latency_us"]):
        assert 0.95 * STALL_US < latency["max"] < 1e6 * (time.monotonic() - begin)
        assert latency["p90"] > 0.5 * STALL_US


def test_a_schedule_that_is_kept_is_told():
    """Of one or two messages; other programs may hold them up in a run, but not in each."""
    with EchoServer() as server:
        assert any(
            schedule == {"sent_share": 1, "late_share": 0, "late_max_us": 0, "kept": True}
            for schedule in (measure_well(server.address, "-r", 15, "-c", 1, duration=0.1,
                                          warmup=0)["schedule"] for _ in range(30)))


def test_a_fixed_schedule_has_no_excuse_of_chance():
    with Slow() as server:
        # Of 50 a second it answers 20.
        schedule = measure_well(server.address, "-r", 50, "-c", 1, duration=0.4)["schedule"]
    assert schedule["sent_share"] < 0.9 and schedule["kept"] is False


def test_a_message_that_was_due_just_before_the_end_is_not_starved():
    """Four connections of twenty have a message in the time; the last is answered after it."""
    with Slow() as server:
        report = measure_well(server.address, "-r", 20, "-c", 20, duration=0.2)
    assert report["latency_us"]["count"] == 4
    assert report["starved"] == 0 and report["fairness"] == 1


def test_a_slow_server_is_not_the_generator_s_fault():
    with Slow() as server:
        report = measure_well(server.address, "-r", 100, "-c", 1, duration=0.2)
    # It answers 20 a second, so the messages queue up, and the last are answered after the time.
    assert report["latency_us"]["count"] == 20
    assert report["latency_us"]["p90"] > 18 * (Slow.DELAY_S - 0.01) * 1e6
    answered = 1 + report["seconds"] / Slow.DELAY_S
    assert report["echoes"] <= answered
    assert report["schedule"]["sent_share"] <= (1 + answered) / 20
    # Only what had room when it was due, and was sent in time, can be late.
    assert report["schedule"]["late_share"] <= (1 + answered) / 20


@pytest.mark.parametrize("options", [(), ("-P", "-p", 64)])
def test_a_rate_that_no_generator_can_keep_is_told(echopool, options):
    # When the time is over, it goes on with what was due, until an answer takes too long.
    outcome = measure(echopool.address, "-r", 100_000_000, "-c", 20, "-T", 0.2, *options)
    report = outcome.report
    assert set(outcome.errors) <= {"timed_out"}
    assert report["schedule"]["kept"] is False and report["schedule"]["sent_share"] < 0.9
    assert report["echoes_per_s"] < 50_000_000
    assert report["latency_us"]["p50"] is None or report["latency_us"]["p50"] > 1000


def hold_up(process, pause):
    """Stops a generator for so many seconds."""
    process.send_signal(signal.SIGSTOP)
    wait_for(lambda: process_state(process.pid) == "T")
    time.sleep(pause)
    process.send_signal(signal.SIGCONT)


def wait_growth(server, messages):
    """Waits until so many more messages have come."""
    wanted = server.received + 64 * messages
    wait_for(lambda: server.received >= wanted)


def hold_up_under_load(server, pause, options, full):
    """A run in which the generator was stopped.

    Its report, the time until it went on, and whether its measured time began before the stop.
    """
    begin = time.monotonic()
    with server, loading(server.address, *options) as process:
        # The measured time begins 50 ms after all are connected, or when the CPUs let it.
        wait_for(lambda: server.received and server.age_s() > 0.2)
        stop = time.monotonic()
        if full:
            server.hold()
            wait_for(lambda: server.waiting >= full)
            time.sleep(0.1)  # each has asked, and may do so again until it has all in flight
        hold_up(process, pause)
        if full:
            server.release()
        # Those that were due in the stall, and many of those that were due in the pause.
        wait_growth(server, int(options[1] * 0.35) if full else 1)
        end = time.monotonic()
        report = interrupted(process).report
    # It ends 50 ms after the signal.
    return report, end - begin, report["seconds"] > end - stop + 0.1


def held_up_in_the_measured_time(kind, pause, *options, full=0):
    """As hold_up_under_load(), again where the measured time had not begun before it.

    full: in a stall of the server, when so many connections wait for it.
    """
    for _ in range(5):
        report, held_s, measured = hold_up_under_load(kind(), pause, options, full)
        if measured:
            return report, held_s
    raise AssertionError(report)


@pytest.mark.parametrize("options", [("-r", 500), ("-r", 500, "-p", 8, "-P"), ("-a", 100)])
def test_a_generator_that_was_held_up_says_so(options):
    pause = 0.4
    report, held_s = held_up_in_the_measured_time(EchoServer, pause, *options, "-c", 50)
    assert report["schedule"]["kept"] is False
    assert 0.8e6 * pause < report["schedule"]["late_max_us"] < 1e6 * held_s
    assert report["schedule"]["late_share"] > 0.1
    assert report["latency_us"]["p99"] > 0.7e6 * pause


@pytest.mark.parametrize("options, connections", [
    (("-r", 1000, "-c", 4), 4), (("-r", 1000, "-c", 2, "-p", 8), 2), (("-a", 400, "-c", 4), 4)])
def test_a_stall_is_not_the_generator_s_though_it_was_held_up_in_it(options, connections):
    """All connections were full then. Others may hold it up, too, but hardly in each run."""
    pause = 0.4
    for _ in range(5):
        report, _ = held_up_in_the_measured_time(Held, pause, *options, full=connections)
        assert report["ok"] and report["latency_us"]["max"] > 1e6 * pause
        if report["schedule"]["late_max_us"] < 0.75e6 * pause:
            return
    raise AssertionError(report)


def test_a_schedule_of_which_nothing_was_sent_is_not_kept():
    """Each connection has sent what it may before the measured time begins."""
    with Silent() as server:
        outcome = measure(server.address, "-r", 100, "-c", 4, "-t", 4, "-T", 0.8, duration=0.2,
                          warmup=0.1)
    assert outcome.status == 1
    assert outcome.report["schedule"]["sent_share"] == 0
    assert outcome.report["schedule"]["kept"] is False


def test_a_schedule_that_has_nothing_due_is_neither_kept_nor_broken():
    with EchoServer() as server:
        outcome = measure(server.address, "-r", 0.05, "-c", 1)
    assert outcome.status == 1 and outcome.errors == {}
    assert outcome.said[0].startswith("echoload: no answer came")
    assert set(outcome.report["schedule"].values()) == {None}


def test_a_schedule_that_is_far_behind_does_not_keep_it_from_ending():
    """The second connection begins when a thousand million moments of the schedule are over."""
    with EchoServer() as server, \
            loading(server.address, "-r", 1e9, "-P", "-c", 2, "-C", 1, "-T", 0.2) as process:
        wait_for(lambda: server.accepted == 2)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=seconds(10))


def test_the_closed_loop_has_no_schedule():
    with EchoServer() as server:
        assert measure_well(server.address, "-c", 2, duration=0.1)["schedule"] is None
