"""bench/tune.py: short runs of the program itself."""

import csv
import json
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from harness import CHECKOUT, PROGRAM, seconds, wait_for

BENCH = CHECKOUT / "bench"
ECHOLOAD = Path(PROGRAM).parent / "bench" / "echoload"
needs_echoload = pytest.mark.skipif(
    not ECHOLOAD.is_file(), reason=f"{ECHOLOAD} was not built (script/build --bench)")


def tune(tmp_path, *arguments, build=ECHOLOAD.parents[1]):
    """Runs tune.py with its results in tmp_path/out."""
    command = ["/usr/bin/python3", BENCH / "tune.py", "--build", build, "--output",
               tmp_path / "out", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=seconds(60),
                          stdin=subprocess.DEVNULL, check=False)


QUICK = ("--workers", "1,2", "--load", "5x64", "--rounds", "1", "--duration", "0.2", "--warmup",
         "0.1")


def assert_consistent(tmp_path, done):
    """The files say the same as each other and as the output; returns the JSON object."""
    assert done.returncode == 0, done.stderr
    out = tmp_path / "out"
    found = json.loads((out / "tune.json").read_text(encoding="utf-8"))
    with open(out / "tune-runs.csv", encoding="utf-8", newline="") as file:
        runs = list(csv.DictReader(file))
    assert [run["workers"] for run in runs] == [str(run["workers"]) for run in found["runs"]]
    for run, same in zip(runs, found["runs"]):
        assert float(run["echoes_per_s"]) == same["echoes_per_s"] > 0
        assert float(run["server_memory_bytes"]) > 100000
        assert run["ok"] == "True"
        assert run["server_workers"] == run["workers"]
    assert len(found["medians"]) == len({(run["load"], run["workers"]) for run in runs})
    for row in found["medians"]:
        assert f" {row['echoes_per_s']:,.0f} " in done.stdout
    workers = found["recommendation"]["all"]["workers"]
    assert f"pool: {{ workers = {workers}; }};" in done.stdout
    return found


@needs_echoload
def test_a_sweep_writes_what_it_says(tmp_path):
    done = tune(tmp_path, *QUICK)
    found = assert_consistent(tmp_path, done)
    assert [run["workers"] for run in found["runs"]] == [1, 2]
    assert "round 1 of 1 done" in done.stderr
    svg = (tmp_path / "out" / "tune.svg").read_text(encoding="utf-8")
    assert "Throughput" in svg and "5 x 64 B" in svg
    assert (tmp_path / "out" / "tune.png").read_bytes().startswith(b"\x89PNG")


@needs_echoload
def test_without_gnuplot_it_says_so_and_leaves_the_plots_out(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    done = tune(tmp_path, *QUICK)
    assert_consistent(tmp_path, done)
    assert "script/bench: no plots: gnuplot is not there; install" in done.stderr
    assert not (tmp_path / "out" / "tune.svg").exists()


@needs_echoload
def test_live_resizes_one_server_by_reload(tmp_path):
    done = tune(tmp_path, *QUICK, "--live", "--rounds", "2", "-o", "log.level=warning")
    found = assert_consistent(tmp_path, done)
    assert [run["workers"] for run in found["runs"]] == [1, 2, 2, 1]
    assert found["live"]


@needs_echoload
def test_a_thread_for_each_client_gets_sizes_past_littles_law(tmp_path):
    done = tune(tmp_path, "-o", "pool.worker_connections=1", "--arrivals", "50", "--messages", "3",
                "--rounds", "1", "--duration", "0.3", "--warmup", "0.1")
    found = assert_consistent(tmp_path, done)
    law = found["recommendation"]["loads"]["50 conn/s, 3 x 64 B"]["little"]
    assert law["in_service"] == pytest.approx(law["arrivals_per_s"] * law["holding_us"] / 1e6)
    assert found["sizes"][-1] >= 2 * law["workers"]
    assert "Little's law: " in done.stdout


@needs_echoload
def test_a_pool_that_fails_is_told_and_never_recommended(tmp_path):
    """Three clients stay; with one worker for one connection two of them get no answer."""
    done = tune(tmp_path, "-o", "pool.worker_connections=1", "--workers", "1,4", "--load", "3x64",
                "--rounds", "1", "--duration", "0.3", "--warmup", "0.1", "-o", "timeouts.queue=0.2")
    assert done.returncode == 1
    assert re.search(r"^failed: 1 worker, 3 x 64 B: ", done.stderr, re.MULTILINE), done.stderr
    assert "FAILED 1 of 1" in done.stdout
    assert "1 of 2 runs failed" in done.stdout
    found = json.loads((tmp_path / "out" / "tune.json").read_text(encoding="utf-8"))
    assert found["recommendation"]["all"]["workers"] == 4


@needs_echoload
def test_a_wrong_file_is_told_in_echopools_own_words(tmp_path):
    path = tmp_path / "wrong.conf"
    path.write_text("pool: { workers = 70000; };\n", encoding="ascii")
    done = tune(tmp_path, "-c", path)
    assert done.returncode == 2
    assert done.stderr == (f"script/bench: {path}:1: pool.workers: found 70000; right is a whole "
                           "number from 0 to 1024\n")


def test_a_missing_program_is_told(tmp_path):
    done = tune(tmp_path, build=tmp_path)
    assert done.returncode == 1
    assert done.stderr == (f"script/bench: {tmp_path}/echopool is not there: run script/build "
                           "--bench, or name the build with --build\n")


@pytest.mark.parametrize("arguments, word", [
    (("--workers", "0"), "whole numbers from 1 to 1024"),
    (("--load", "64"), "CONNECTIONSxSIZE"),
    (("--arrivals", "5", "--rate", "5"), "--arrivals goes with"),
    (("--poisson",), "--poisson is about"),
])
def test_wrong_usage_is_told(tmp_path, arguments, word):
    done = tune(tmp_path, *arguments)
    assert done.returncode == 2
    assert word in done.stderr


def descendants(pid):
    """The process ids of the children that a program has now."""
    return Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()


@needs_echoload
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_stops_the_server_and_tells_what_there_is(tmp_path, number):
    command = ["/usr/bin/python3", BENCH / "tune.py", "--build", ECHOLOAD.parents[1], "--output",
               tmp_path / "out", "--workers", "1", "--load", "5x64", "--rounds", "500",
               "--duration", "0.1", "--warmup", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               stdin=subprocess.DEVNULL)
    try:
        for line in process.stderr:
            if line.startswith("round 2 of 500 done"):
                break
        children = wait_for(lambda: descendants(process.pid), what="a server")
        process.send_signal(number)
        output, errors = process.communicate(timeout=seconds(30))
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130, errors
    assert re.search(r"^script/bench: interrupted after \d+ runs$", errors, re.MULTILINE), errors
    assert "5 x 64 B" in output
    assert (tmp_path / "out" / "tune.json").exists()
    assert not [child for child in children if os.path.exists(f"/proc/{child}")]


def test_the_help_fits_the_screen_and_shows_examples(tmp_path):
    done = tune(tmp_path, "--help")
    assert done.returncode == 0
    assert max(map(len, done.stdout.splitlines())) <= 100
    assert "examples:" in done.stdout
