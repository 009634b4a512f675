"""The load generator against servers that are right: it counts what they do, and nothing else."""

import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from clients import family_of
from echoload import (ECHOLOAD, at, close, measure_all_served, measure_enough, measure_well,
                      needs_echoload, on_a_terminal, outcome_of, run)
from harness import environment, seconds, wait_for
from odd_servers import EchoServer, Silent

pytestmark = needs_echoload


@pytest.fixture
def echopool(start):
    """The service itself, with one worker."""
    return start({"pool.workers": 1, "pool.worker_connections": 200})


def worker_figures(server):
    """The figures of a server's one worker."""
    return server.figures()[0][0]


def test_a_right_server_gets_a_clean_report():
    with EchoServer() as server:
        report = measure_all_served(server.address, "-c", 4)
        assert report["target"] == at(server.address)
        assert report["errors"] == dict.fromkeys(report["errors"], 0)
        assert 0 < report["echoes"] <= server.received / 64
        assert report["opened"] == report["connect_us"]["count"] == 4 <= server.accepted
        assert report["opened_per_s"] * report["seconds"] < 4.5 and report["starved"] == 0
        assert 0 < report["fairness"] <= 1
        assert report["schedule"] is None


def test_the_options_in_effect_are_told():
    with EchoServer() as server:
        report = measure_well(server.address, "-c", 3, "-t", 2, "-s", "10-1k", "-p", 2, "-i", 1,
                              "-C", 500, "-T", 4, "--seed", 7)
    assert report["options"] == {
        "connections": 3, "threads": 2, "size_min": 10, "size_max": 1024, "pipeline": 2,
        "messages": 0, "idle": 1, "duration_s": report["options"]["duration_s"], "warmup_s": 0.05,
        "rate": 0, "arrivals": 0, "poisson": False, "connect_rate": 500, "timeout_s": 4, "seed": 7}


@pytest.mark.parametrize("options", [
    ("-s", 1), ("-s", "1-300"), ("-s", "1M", "-c", 3), ("-s", "100k-200k", "-p", 8, "-c", 4),
    ("-p", 1024, "-c", 2), ("-s", "16M", "-c", 1), ("-c", 150, "-t", 3)])
def test_every_byte_comes_back_right(echopool, options):
    report = measure_all_served(echopool.address, *options)
    wait_for(lambda: echopool.connections() == 0)
    figures = worker_figures(echopool)
    assert figures["received_bytes"] == figures["sent_bytes"]
    assert figures["received_bytes"] >= report["echoes"] * report["options"]["size_min"]


def test_sizes_of_a_range_are_equally_likely(echopool):
    report = measure_enough(echopool.address, "-s", "100-300", "-c", 4,
                            enough=lambda report: report["echoes"] > 200)
    # Five times the usual deviation of the mean, which is 0.29 of it for a single one.
    assert close(report["bytes_per_s"], 200 * report["echoes_per_s"],
                 5 * 0.29 / report["echoes"] ** 0.5)


def test_what_is_counted_is_what_the_server_saw(echopool):
    report = measure_all_served(echopool.address, "-c", 5, "-p", 2, warmup=0)
    wait_for(lambda: echopool.connections() == 0)
    echoes = worker_figures(echopool)["received_bytes"] / 64
    # What came before all connections were open, or was in flight at the end, is not measured.
    assert 5 <= report["echoes"] <= echoes
    assert worker_figures(echopool)["taken"] % 5 == 0 and report["opened"] == 5


def test_the_time_is_the_time_that_was_asked_for():
    with EchoServer() as server:
        report = measure_well(server.address, "-c", 1, duration=0.3)
    asked = report["options"]["duration_s"]
    assert asked <= report["seconds"] + 0.001 < seconds(asked + 0.1)


def test_churn_opens_a_connection_for_each_message(echopool):
    report = measure_well(echopool.address, "-m", 1, "-c", 5)
    assert report["opened"] >= report["echoes"]
    assert report["fairness"] is None
    # The first answer of a connection is what both figures wait for.
    assert report["opened_per_s"] == report["echoes_per_s"]
    assert abs(report["connect_us"]["count"] - report["echoes"]) <= 5
    wait_for(lambda: echopool.connections() == 0)
    assert report["opened"] <= worker_figures(echopool)["taken"] <= report["opened"] + 5


def test_the_time_to_connect_is_in_the_first_answer(echopool):
    """Where a busy machine has both wait for something else, one run in a few tells them apart."""
    assert any(report["connect_us"]["p50"] > report["latency_us"]["p50"]
               for report in (measure_well(echopool.address, "-m", 1, "-c", 5)
                              for _ in range(20)) if report["echoes"])


def test_churn_of_several_messages(echopool):
    report = measure_enough(echopool.address, "-m", 10, "-c", 5, "-p", 3,
                            enough=lambda report: report["echoes"] > 200)
    opened = report["opened_per_s"] * report["seconds"]
    # Each connection may have begun before the measured time, or end after it.
    assert abs(10 * opened - report["echoes"]) <= 10 * 5 + 5
    assert report["echoes"] > report["connect_us"]["count"] > 0


def test_idle_connections_are_there_and_send_nothing(echopool):
    process = subprocess.Popen(
        [ECHOLOAD, "-q", "-j", "-", "-c", "2", "-i", "50", "-d", "20", at(echopool.address)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment())
    try:
        wait_for(lambda: worker_figures(echopool)["connections"] == 52)
        wait_for(lambda: worker_figures(echopool)["received_bytes"] > 64 * 100)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=seconds(10))
    finally:
        process.kill()
        process.wait()
    report = outcome_of(subprocess.CompletedProcess([], process.returncode, out, err)).report
    assert not any(report["errors"].values()) and report["opened"] == 2


def ended_by(number, *options):
    """The standard output of a run that a signal ended, and how many echoes the server sent."""
    for _ in range(5):
        status, out, err, echoes = ended_once(number, *options)
        # Where the CPUs are busy, the signal may have come before the measured time.
        if "no answer came" not in err:
            break
    assert status == 0 and err == ""
    return out, echoes


def ended_once(number, *options):
    """The exit status, both outputs, and how many echoes the server sent."""
    with EchoServer() as server:
        process = subprocess.Popen(
            [ECHOLOAD, "-d", "60", *options, "-c", "2", "-w", "0", at(server.address)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment())
        try:
            # What is measured needs some time to be measured in.
            wait_for(lambda: server.received and server.age_s() > 0.3)
            process.send_signal(number)
            out, err = process.communicate(timeout=seconds(20))
        finally:
            process.kill()
            process.wait()
        return process.returncode, out, err, server.received / 64


@pytest.mark.parametrize("duration", [60, 0])
def test_ctrl_c_ends_it_early_with_a_report(duration):
    out, echoes = ended_by(signal.SIGINT, "-j", "-", "-d", str(duration))
    report = outcome_of(subprocess.CompletedProcess([], 0, out, "")).report
    assert 0 < report["echoes"] <= echoes and report["seconds"] < 60
    assert report["interrupted"] is (duration > 0)


def test_sigterm_ends_it_early_with_a_table():
    assert "p99.9" in ended_by(signal.SIGTERM)[0]


def test_a_signal_ends_the_wait_for_the_last_answers():
    with Silent() as server, on_a_terminal() as terminal:
        process = subprocess.Popen(
            [ECHOLOAD, "-c", "2", "-w", "0", "-d", "0.1", "-T", "60", at(server.address)],
            stdout=subprocess.PIPE, stderr=terminal.end, text=True, env=environment())
        try:
            wait_for(lambda: "waiting for the last answers" in terminal.shown())
            process.send_signal(signal.SIGINT)
            out = process.communicate(timeout=seconds(20))[0]
        finally:
            process.kill()
            process.wait()
    assert process.returncode == 1 and "p99.9" in out


def has_ipv6():
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
        return True
    except OSError:
        return False


@pytest.mark.skipif(not has_ipv6(), reason="needs IPv6: this machine has no ::1")
@pytest.mark.parametrize("options", [(), ("-6",)])
def test_ipv6(options):
    with EchoServer("::1") as server:
        assert family_of(server.address) == socket.AF_INET6
        report = measure_well(server.address, *options, "-c", 2, duration=0.1)
        assert report["target"] == at(server.address) and server.accepted == 2


def test_a_name_is_looked_up():
    with EchoServer() as server:
        address = ("localhost", server.address[1])
        result = run("-j", "-", "-4", "-c", 2, "-w", 0, "-d", 0.1, at(address))
        assert outcome_of(result).report["ok"] and server.accepted == 2


def test_the_server_s_cpu_is_told(echopool):
    report = measure_enough(echopool.address, "-c", 10, "-S", echopool.pid,
                            enough=lambda report: report["echoes"] > 200)
    cpu = report["cpu"]
    # As many as there are threads; that it is not more than it was, the unit tests know.
    assert 0 < cpu["server"] <= 3 and 0 < cpu["generator"] <= 2
    # Both are of the same seconds, and so is what an echo takes.
    each = [cpu[who] / cpu[f"{who}_us_per_echo"] for who in ("server", "generator")]
    assert close(1e6 * each[0], 1e6 * each[1], 0.1)


def test_without_its_number_nothing_is_said_about_the_server_s_cpu(echopool):
    report = measure_well(echopool.address, "-c", 2, duration=0.1)
    assert report["cpu"]["server"] is None and report["cpu"]["server_us_per_echo"] is None
    assert report["limited_by"] != "server"


PARENT = """
import os, sys
sys.path.insert(0, sys.argv[1])
from odd_servers import EchoServer
if os.fork():
    os.wait()
else:
    with EchoServer() as server:
        print(server.address[1], flush=True)
        sys.stdin.read()
"""


def test_the_children_of_the_server_count():
    with subprocess.Popen([sys.executable, "-c", PARENT, Path(__file__).parent], text=True,
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        port = int(parent.stdout.readline())
        report = measure_enough(("127.0.0.1", port), "-c", 2, "-S", parent.pid,
                                enough=lambda report: report["echoes"] > 200)
    # The parent itself sleeps all the time.
    assert report["cpu"]["server"] > 0
