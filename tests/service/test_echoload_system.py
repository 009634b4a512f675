"""The load generator and the system under it: who uses the CPUs, and what may be missing."""

import contextlib
import errno
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

import echoload_preload
from echoload import (at, interrupted, loading, measure, measure_enough, measure_well,
                      needs_echoload, outcome_of, run)
from harness import exec_wrapper, needs_plain_build, wait_for
from odd_servers import Burning, Corrupting, EchoServer, FirstOnly

pytestmark = needs_echoload

SERVER = """
import sys
sys.path.insert(0, sys.argv[1])
from odd_servers import *
with {} as server:
    print(server.address[1], flush=True)
    sys.stdin.read()
"""


@contextlib.contextmanager
def in_a_process(server):
    """The address and the process of an odd server, given as an expression."""
    command = [sys.executable, "-c", SERVER.format(server), Path(__file__).parent]
    with subprocess.Popen(command, text=True, stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE) as process:
        yield ("127.0.0.1", int(process.stdout.readline())), process.pid


@pytest.mark.parametrize("server, options", [
    ("Burning()", ("-c", 1, "-i", 5)), ("EchoServer()", ("-c", 8, "-s", 1, "-p", 1024)),
    ("EchoServer()", ("-c", 2, "-r", 50))], ids=["the server", "the generator", "nobody"])
def test_what_limits_a_run_is_told_by_its_figures(server, options):
    """That the word agrees with them is looked at with every report."""
    with in_a_process(server) as (address, pid):
        report = measure_well(address, "-S", pid, *options)
    cpu = report["cpu"]
    assert 0 <= cpu["generator"] and 0 <= cpu["server"]
    assert cpu["cpus"] == len(os.sched_getaffinity(0))


def test_the_cpu_of_a_server_is_all_that_it_used():
    """Of each echo, all but a tenth for what the edges of a run cut off."""
    with in_a_process("Burning()") as (address, pid):
        report = measure_enough(address, "-c", 1, "-S", pid,
                                enough=lambda report: report["echoes"] >= 5)
    assert report["cpu"]["server_us_per_echo"] > 0.1e6 * Burning.CPU_S


def test_the_cpu_of_a_server_that_has_ended_is_not_told():
    with in_a_process("Exiting(0.2)") as (address, pid):
        with loading(address, "-c", 1, "-S", pid, "-T", 0.2) as process:
            wait_for(lambda: os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG))
            outcome = interrupted(process)
    assert outcome.status == 1
    assert outcome.report["cpu"]["server"] is None
    assert outcome.report["cpu"]["server_us_per_echo"] is None


def test_only_the_cpus_that_it_may_use_count(start):
    """One, on which it and the server never rest: the report's word follows from these figures."""
    pinned = exec_wrapper(f"os.sched_setaffinity(0, {{{min(os.sched_getaffinity(0))}}})")
    server = start({"pool.workers": 1}, wrapper=pinned)
    result = run("-j", "-", "-c", 8, "-w", 0, "-d", 0.2, at(server.address), wrapper=pinned)
    report = outcome_of(result).report
    assert report["cpu"]["cpus"] == 1


@needs_plain_build
def test_no_cpu_is_used_while_the_last_answers_are_awaited():
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with FirstOnly(10) as server:
        outcome = measure(server.address, "-a", 100, "-c", 50, "-T", 0.6, duration=0.2, warmup=0)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert outcome.report["opened"] == 10 and server.accepted > 10
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.2


def test_what_is_late_as_the_answers_of_others_took_long_is_the_generator_s(start, tmp_path):
    library = echoload_preload.build(tmp_path)
    address = start({"pool.workers": 1}).address
    result = run("-j", "-", "-r", 2000, "-c", 20, "-p", 64, "-w", 0, "-d", 0.4, at(address),
                 env=library | {"SLOW_100TH": "5000"})
    report = outcome_of(result).report
    assert report["ok"] and not report["schedule"]["kept"]
    assert report["schedule"]["late_share"] > 0.03
    assert report["schedule"]["late_max_us"] > 3000


@pytest.mark.parametrize("error", [errno.ENOSYS, errno.EPERM])
def test_a_kernel_without_the_newest_wait_will_do(tmp_path, error):
    library = echoload_preload.build(tmp_path)
    with EchoServer() as server:
        result = run("-j", "-", "-r", 500, "-c", 2, "-w", 0, "-d", 0.2, at(server.address),
                     env=library | {"NO_PWAIT2": str(error)})
    outcome = outcome_of(result)
    assert outcome.status == 0 and outcome.said == []
    assert outcome.report["latency_us"]["count"] == 100


def test_faults_are_not_told_in_a_file_of_results(tmp_path):
    file = tmp_path / "result.json"
    with Corrupting(every=1000) as server:
        result = run("-j", file, "-c", 1, "-w", 0, "-d", 0.1, at(server.address),
                     wrapper=exec_wrapper("os.close(2)"))
        assert server.corrupted
    assert result.returncode == 1
    assert json.loads(file.read_text())["errors"]["wrong"] == server.corrupted
