"""The load generator against known truth: what it delays itself is told as its own, and no more."""

import json
import os
import re
import signal
import subprocess
import time

import pytest

import echoload_preload
from echoload import (ECHOLOAD, at, check, interrupted, loading, measure, measure_well,
                      needs_echoload, outcome_of, Outcome, run)
from harness import environment, error_lines, process_state, seconds, wait_for
from odd_servers import EchoServer, FirstAnswers, Sizing, Slow, StoppingOften

pytestmark = needs_echoload

LOOPS = pytest.mark.parametrize("loop", [(), ("-r", 500)], ids=["closed loop", "open loop"])
SLOW_US = 300


def slowed(address, tmp_path, call, loop, slow_us=SLOW_US):
    """Reports of runs in which each call of this kind takes so much longer, up to five."""
    library = echoload_preload.build(tmp_path)
    for _ in range(5):
        result = run("-j", "-", "-c", 2, "-w", 0.1, "-d", 0.5, "--strict", *loop, at(address),
                     env=library | {call: str(slow_us)})
        report = json.loads(result.stdout)
        check(Outcome(0 if report["ok"] else 1, report, []))
        assert (result.returncode == 3) == (report["ok"] and report["disturbed"])
        if report["ok"]:  # otherwise the machine is so busy that nothing was measured
            yield report


@LOOPS
def test_a_generator_that_reads_slowly_is_told_by_every_figure(start, tmp_path, loop):
    """The bound is 5 % of what the server takes, and 50 us; others may have its CPUs."""
    address = start({"pool.workers": 1}).address
    for report in slowed(address, tmp_path, "SLOW_RECEIVE", loop):
        seen, undelayed = report["latency_us"], report["undelayed_us"]
        assert all(seen[key] - undelayed[key] > 0.9 * SLOW_US for key in ("p50", "p99", "mean"))
        if report["disturbed"]:
            return
    raise AssertionError(report)


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two CPUs: on one, the server "
                    "answers before the call that sent returns")
@pytest.mark.parametrize("loop", [(), ("-r", 30)], ids=["closed loop", "open loop"])
def test_a_generator_that_sends_slowly_is_told(start, tmp_path, loop):
    address = start({"pool.workers": 1}).address
    slow_us = 20_000  # longer than a busy machine keeps the server from a CPU
    for report in slowed(address, tmp_path, "SLOW_SEND", loop, slow_us):
        # Some are answered long before the call is over, but none is seen before.
        if report["undelayed_us"]["min"] < 0.5 * slow_us and report["disturbed"]:
            assert report["latency_us"]["min"] >= slow_us
            return
    raise AssertionError(report)


def stopped_often(address, loop, stops=5, pause_s=0.02, apart_s=0.18):
    """A run whose process is stopped for 20 ms of each 200; its report."""
    with loading(address, "-c", 2, *loop) as process:
        yield process
        for _ in range(stops):
            process.send_signal(signal.SIGSTOP)
            wait_for(lambda: process_state(process.pid) == "T")
            time.sleep(pause_s)
            process.send_signal(signal.SIGCONT)
            time.sleep(apart_s)
        yield interrupted(process).report


def delayed_us(report):
    """What the generator added to all latencies together."""
    seen, undelayed = report["latency_us"], report["undelayed_us"]
    return seen["count"] * (seen["mean"] - undelayed["mean"])


@LOOPS
def test_a_generator_that_is_stopped_often_is_told(loop):
    """Something is under way, or due, in each of the stops."""
    for _ in range(5):
        with Slow(delay_s=0.005) as server:
            steps = stopped_often(server.address, loop)
            next(steps)
            wait_for(lambda: server.received > 640 and server.age_s() > 0.3)
            report = next(steps)
        if report["latency_us"]["count"] and report["generator"]["held_max_us"] > 10_000:
            break
    assert report["generator"]["held_max_us"] > 10_000
    assert report["generator"]["held_share"] > 0.01
    assert delayed_us(report) > 3 * 10_000
    assert report["disturbed"]


@LOOPS
def test_a_server_that_does_the_same_is_told_as_the_server(loop):
    with StoppingOften(0.02, 0.2) as server:
        report = measure_well(server.address, "-c", 2, *loop, duration=1)
        assert server.stops >= 3
    assert report["undelayed_us"]["max"] > 0.9 * 20_000
    with Slow(delay_s=SLOW_US / 1e6) as server:
        report = measure_well(server.address, "-c", 2, *loop)
    assert report["undelayed_us"]["p50"] > 0.99 * SLOW_US


def test_where_the_kernel_tells_no_times_nothing_is_claimed(tmp_path):
    library = echoload_preload.build(tmp_path)
    with EchoServer() as server:
        result = run("-j", "-", "-c", 2, "-w", 0, "-d", 0.5, at(server.address),
                     env=library | {"NO_STAMPS": "1"})
        table = run("-c", 2, "-w", 0, "-d", 0.5, at(server.address),
                    env=library | {"NO_STAMPS": "1"}).stdout
    report = outcome_of(result).report
    assert report["disturbed"] is None and report["undelayed_us"]["p50"] is None
    assert "its delays are unknown" in table and "undelayed" not in table


def test_the_time_to_connect_has_nothing_of_what_comes_before_it(tmp_path):
    library = echoload_preload.build(tmp_path)
    with EchoServer() as server:
        result = run("-j", "-", "-c", 1, "-m", 1, "-w", 0, "-d", 1, at(server.address),
                     env=library | {"SLOW_SOCKET": "20000"})
    assert outcome_of(result).report["connect_us"]["min"] < 20_000


def test_the_files_are_written_though_nobody_reads_the_table(tmp_path):
    files = [tmp_path / name for name in ("run.json", "runs.csv", "run.hist")]
    with EchoServer() as server:
        process = subprocess.Popen(
            [ECHOLOAD, "-c", "2", "-d", "0.3", "-w", "0", "-j", files[0], "--csv", files[1],
             "--hist", files[2], at(server.address)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment())
        process.stdout.close()
        said = process.stderr.read()
        assert process.wait(seconds(30)) == 1
    assert "echoload: standard output: Broken pipe" in said
    assert "ok" in json.loads(files[0].read_text()) and len(files[1].read_text().splitlines()) == 2
    assert files[2].read_text().startswith("# latency")


def test_where_nothing_was_measured_nothing_is_well():
    """What is sent before the measured time is answered long after it."""
    with Slow(delay_s=0.8) as server:
        outcome = measure(server.address, "-c", 2, duration=0.05, warmup=0)
    assert outcome.status == 1 and outcome.errors == {} and outcome.report["opened"] == 2
    assert outcome.said == ["echoload: no answer came in the measured time, or to what was sent "
                            "in it"]


def test_ctrl_c_in_the_warm_up_is_no_success():
    with EchoServer() as server, loading(server.address, "-c", 2, "-w", 60) as process:
        wait_for(lambda: server.received)
        outcome = interrupted(process)
    assert outcome.status == 1 and outcome.report["interrupted"]
    assert outcome.said == ["echoload: no answer came: the run ended before the measured time"]


def sizes_of(*options):
    """The sizes of the first messages of a run, and its report."""
    with Sizing() as server:
        report = measure_well(server.address, "-c", 1, "-s", "1-1000", *options)
        return server.sizes[:20], report


def test_a_seed_repeats_what_is_random_and_without_one_it_is_another_each_time():
    first, report = sizes_of("--seed", 5)
    assert report["options"]["seed"] == 5
    assert sizes_of("--seed", 5)[0] == first != sizes_of("--seed", 6)[0]
    found = [sizes_of() for _ in range(2)]
    assert found[0][0] != found[1][0]
    assert found[0][1]["options"]["seed"] != found[1][1]["options"]["seed"]
    assert sizes_of("--seed", found[0][1]["options"]["seed"])[0] == found[0][0]


def test_each_message_without_an_answer_is_counted():
    """All that are in flight on a connection whose server falls silent."""
    with FirstAnswers(10) as server:
        outcome = measure(server.address, "-c", 2, "-p", 16, "-T", 0.3, warmup=0)
    assert outcome.status == 1 and set(outcome.errors) == {"timed_out"}
    assert outcome.report["unanswered"] == 16 * outcome.errors["timed_out"] >= 32


def test_a_small_rate_has_decimals():
    with Slow(delay_s=0.3) as server:
        out = run("-c", 1, "-w", 0, "-d", 1, at(server.address)).stdout
    assert re.search(r"^ +echoes .* s +\d\.\d\d a second", out, re.MULTILINE), out


def test_the_percentiles_the_label_and_the_begin_are_told():
    options = ("-c", 2, "--percentiles", "75,99.99", "--label", "a name")
    with EchoServer() as server:
        for duration in (0.5, 2, 5):  # longer where nobody was answered yet
            report = json.loads(run("-j", "-", "-d", duration, *options, at(server.address)).stdout)
            table = run("-d", duration, *options, at(server.address)).stdout
            if report["ok"] and " p75 " in table:
                break
    assert report["label"] == "a name" and table.startswith("a name\n")
    latency = report["latency_us"]
    assert latency["p50"] <= latency["p75"] <= latency["p99_9"] <= latency["p99_99"]
    began = time.strptime(report["began"], "%Y-%m-%dT%H:%M:%SZ")
    assert abs(time.mktime(began) - time.mktime(time.gmtime())) < 600
    assert " p75 " in table and " p99.99 " in table and " p50 " not in table


def test_a_run_can_end_at_its_first_fault():
    with FirstAnswers(10) as server:
        begin = time.monotonic()
        result = run("-j", "-", "-c", 2, "-T", 0.2, "-w", 0, "-d", 600, "--stop-on-error",
                     at(server.address), timeout=60)
    outcome = outcome_of(result)
    assert outcome.status == 1 and not outcome.report["interrupted"]
    assert time.monotonic() - begin < 300 and outcome.errors["timed_out"] >= 1
    assert error_lines(result)


def test_a_late_message_without_room_is_excused_only_from_when_the_room_was_lacking(
        start, tmp_path):
    """A backlog of the generator's own making: it cannot send as fast as is asked."""
    library = echoload_preload.build(tmp_path)
    address = start({"pool.workers": 1}).address
    result = run("-j", "-", "-r", 4000, "-P", "-c", 5, "-w", 0.1, "-d", 0.5, at(address),
                 env=library | {"SLOW_RECEIVE": str(SLOW_US)})
    report = outcome_of(result).report
    assert report["schedule"]["late_share"] > 0.8 and not report["schedule"]["kept"]
    assert report["disturbed"]


def test_a_rate_far_beyond_all_is_late_though_nothing_has_a_latency():
    with EchoServer() as server:
        outcome = measure(server.address, "-r", 50_000_000, "-c", 20, "-T", 0.2, warmup=0.2)
    assert outcome.report["schedule"]["late_share"] > 0.5 and outcome.report["disturbed"]
