"""bench/tune.py: short runs of the program itself."""

import contextlib
import csv
import json
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from clients import need_descriptors
from harness import CHECKOUT, PROGRAM, seconds, wait_for
from live import needs_program

BENCH = CHECKOUT / "bench"
ECHOLOAD = Path(PROGRAM).parent / "bench" / "echoload"
needs_echoload = pytest.mark.skipif(
    not ECHOLOAD.is_file(), reason="needs echoload: script/build --bench builds it")


def tune(tmp_path, *arguments, build=ECHOLOAD.parents[1]):
    """Runs tune.py with its results in tmp_path/out."""
    command = ["/usr/bin/python3", BENCH / "tune.py", "--build", build, "--output",
               tmp_path / "out", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=seconds(60),
                          stdin=subprocess.DEVNULL, check=False)


QUICK = ("--workers", "1,2", "--load", "5x64", "--rounds", "1", "--warmup", "0.05")


def tune_enough(tmp_path, *arguments, **how):
    """As tune(), but again and longer where a run had no answer in its measured time."""
    for duration in (0.2, 1, 5):
        done = tune(tmp_path, *arguments, "--duration", str(duration), **how)
        path = tmp_path / "out" / "tune.json"
        runs = json.loads(path.read_text(encoding="utf-8"))["runs"] if path.exists() else []
        if all(run.get("echoes") for run in runs):
            break
    return done


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
        assert 0 < float(run["server_voluntary_switches_per_echo"]) < 10
        assert run["ok"] == "True"
        assert run["server_workers"] == run["workers"]
    assert len(found["medians"]) == len({(run["load"], run["workers"]) for run in runs})
    for row in found["medians"]:
        assert f" {row['echoes_per_s']:,.0f} " in done.stdout
    workers = found["recommendation"]["all"]["workers"]
    assert f"pool: {{ workers = {workers}; " in done.stdout
    return found


@needs_echoload
def test_a_sweep_writes_what_it_says(tmp_path):
    done = tune_enough(tmp_path, *QUICK)
    found = assert_consistent(tmp_path, done)
    assert sorted(run["workers"] for run in found["runs"]) == [1, 2]
    assert "round 1 of 1 done" in done.stderr
    svg = (tmp_path / "out" / "tune.svg").read_text(encoding="utf-8")
    assert "Throughput" in svg and "5 x 64 B" in svg
    assert (tmp_path / "out" / "tune.png").read_bytes().startswith(b"\x89PNG")


@needs_echoload
def test_it_goes_on_until_it_is_sure_or_its_time_is_over(tmp_path):
    done = tune_enough(tmp_path, "--workers", "1,2", "--load", "5x64+20", "--limit", "8",
                       "--warmup", "0.05", "--seed", "7")
    found = assert_consistent(tmp_path, done)
    advice = found["recommendation"]["all"]
    assert re.search(r"^round 1 done, 0:\d\d of at most 0:08: nothing is sure before 5 rounds$",
                     done.stderr, re.MULTILINE), done.stderr
    assert found["rounds"] == max(run["round"] for run in found["runs"])
    last_s = int(re.findall(r"^round .* done, 0:0(\d) of", done.stderr, re.MULTILINE)[-1])
    # There was no time for another round as long as the longest.
    assert advice["sure"] or last_s * (1 + 3 / found["rounds"]) >= 7
    assert ("This is sure after" in " ".join(done.stdout.split())) == advice["sure"]
    assert ("For a surer answer" in done.stdout) == (not advice["sure"])
    assert found["seed"] == 7 and found["loads"][0]["options"]["idle"] == 20


@needs_echoload
@pytest.mark.parametrize("arguments, right", [
    (("--load", "1x64", "--workers", "1,4"), {1}),
    (("--load", "4x64", "--workers", "1,2,4,8", "-o", "pool.worker_connections=1"), {4, 8}),
], ids=["one client", "a worker for each client, and clients that stay"])
def test_the_size_is_right_where_it_is_known(tmp_path, arguments, right):
    """Three tries, as one answer in twenty may be wrong."""
    answers = []
    while len(answers) < 3 and not right.intersection(answers):
        tune(tmp_path, *arguments, "--limit", "8", "--duration", "0.2", "--warmup", "0.05")
        found = json.loads((tmp_path / "out" / "tune.json").read_text(encoding="utf-8"))
        answers.append(found["recommendation"]["all"]["workers"])
    assert answers[-1] in right, answers


@needs_echoload
def test_a_size_that_keeps_failing_is_left_out_after_two_runs(tmp_path):
    done = tune(tmp_path, "-o", "pool.worker_connections=1", "--workers", "1,4", "--load", "3x64",
                "--limit", "20", "--duration", "0.2", "--warmup", "0.05", "-o",
                "timeouts.queue=0.6")
    found = json.loads((tmp_path / "out" / "tune.json").read_text(encoding="utf-8"))
    failed = [run for run in found["runs"] if run["workers"] == 1]
    assert done.returncode == 1 and 1 <= len(failed) <= 2 and not any(
        run["ok"] for run in failed)
    assert found["recommendation"]["all"]["workers"] == 4


@needs_echoload
def test_without_gnuplot_it_says_so_and_leaves_the_plots_out(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "tune.svg").write_text("of an earlier run", encoding="ascii")
    done = tune_enough(tmp_path, *QUICK)
    assert_consistent(tmp_path, done)
    assert "script/bench: no plots: gnuplot is not there; install" in done.stderr
    assert not (tmp_path / "out" / "tune.svg").exists()


@needs_echoload
def test_live_resizes_one_server_by_reload(tmp_path):
    done = tune_enough(tmp_path, *QUICK, "--live", "--rounds", "2", "-o", "log.level=warning")
    found = assert_consistent(tmp_path, done)
    assert [sorted(run["workers"] for run in found["runs"] if run["round"] == number)
            for number in (1, 2)] == [[1, 2], [1, 2]]
    assert found["live"]


@needs_echoload
def test_live_leaves_the_operators_file_as_it_is(tmp_path):
    path = tmp_path / "mine.conf"
    path.write_text("pool: { workers = 3; queue_limit = 77; };  # mine\n", encoding="ascii")
    before = path.read_bytes()
    done = tune_enough(tmp_path, *QUICK, "--live", "-c", path)
    found = assert_consistent(tmp_path, done)
    assert found["settings"]["pool.queue_limit"] == "77"
    assert path.read_bytes() == before
    assert {each.name for each in tmp_path.iterdir()} == {path.name, "out"}


@needs_echoload
def test_a_build_is_found_where_it_is_and_not_in_the_path(tmp_path, monkeypatch):
    other = tmp_path / "echopool"
    other.write_text("#!/bin/sh\necho another echopool >&2\nexit 1\n", encoding="ascii")
    other.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.chdir(ECHOLOAD.parents[1])
    assert_consistent(tmp_path, tune_enough(tmp_path, *QUICK, build="."))


@needs_echoload
def test_without_a_place_for_the_files_the_result_is_still_told(tmp_path):
    (tmp_path / "out" / "tune-runs.csv.new").mkdir(parents=True)
    done = tune_enough(tmp_path, *QUICK)
    assert done.returncode == 1
    assert re.search(r"^script/bench: .*Is a directory", done.stderr, re.MULTILINE), done.stderr
    assert "<- recommended" in done.stdout and "pool: { workers = " in done.stdout


@needs_echoload
def test_a_thread_for_each_client_gets_sizes_past_littles_law(tmp_path):
    need_descriptors(1100)  # the arrivals may take a thousand
    done = tune_enough(tmp_path, "-o", "pool.worker_connections=1", "--arrivals", "50",
                       "--messages", "3", "--rounds", "1", "--warmup", "0.05")
    found = assert_consistent(tmp_path, done)
    law = found["recommendation"]["loads"]["50 conn/s, 3 x 64 B"]["little"]
    assert law["in_service"] == pytest.approx(law["arrivals_per_s"] * law["holding_us"] / 1e6)
    assert found["sizes"][-1] >= 2 * law["workers"]
    assert "Little's law: " in done.stdout
    assert re.search(r"pool: \{ workers = \d+; worker_connections = 1; \};", done.stdout)


@needs_echoload
def test_a_pool_that_fails_is_told_and_never_recommended(tmp_path):
    """Three clients stay; with one worker for one connection two of them get no answer."""
    done = tune(tmp_path, "-o", "pool.worker_connections=1", "--workers", "1,4", "--load", "3x64",
                "--rounds", "1", "--duration", "0.2", "--warmup", "0.05", "-o",
                "timeouts.queue=0.6")
    assert done.returncode == 1
    assert ("3 x 64 B: too many connections (3) for pool.workers = 1 with "
            "pool.worker_connections = 1: ") in done.stderr
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
    assert done.stderr == (f"script/bench: {path}:1: pool.workers: found 70000; expected a whole "
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
    (("--arrivals", "5", "--connections", "5,6"), "one number of --connections"),
    (("--rate", "5", "--messages", "5"), "--rate and --messages"),
    (("--warmup", "0.0005"), "from 0.001 to 3600, or 0"),
    (("--duration", "0"), "from 0.05 to 3600"),
    *((("--sizes", size), "64, 64k, 1M or 64-1k, from 1 to 16M")
      for size in ("64K", "1m", "0", "64-1", "99M", "64k-1", "64-", "1-2-3")),
    (("--load", "5x64K"), "CONNECTIONSxSIZE"),
    (("--load", "9999999x64"), "up to 1000000x16M"),
    (("--load", "5x64+"), "8x64+500"),
    (("--limit", "0"), "from 1 to 3600"),
])
def test_wrong_usage_is_told(tmp_path, arguments, word):
    done = tune(tmp_path, *arguments)
    assert done.returncode == 2
    assert word in done.stderr


@pytest.mark.parametrize("arguments", [
    ("--sizes", "1,64k,16M,64-1k"), ("--warmup", "0"), ("--load", "1000000x16M"),
    ("--load", "5x64k+100,8x1"), ("--limit", "5"), ("--seed", "0")])
def test_what_echoload_takes_is_taken(tmp_path, arguments):
    done = tune(tmp_path, *arguments, build=tmp_path)
    assert done.returncode == 1 and "is not there" in done.stderr, done.stderr


LONG = ("--workers", "1", "--load", "5x64", "--rounds", "500", "--duration", "0.1", "--warmup", "0")


class Running:
    """tune.py with a long series of runs, and with a directory for its temporary files.

    stop() is for the end of a test.
    """

    def __init__(self, tmp_path, *before, **options):
        self.temporary = tmp_path / "tmp"
        self.temporary.mkdir()
        # The tests themselves may have been started by nohup.
        command = [*before, "env", "--default-signal=HUP", "/usr/bin/python3", BENCH / "tune.py",
                   "--build", ECHOLOAD.parents[1], "--output", tmp_path / "out", *LONG]
        self.process = subprocess.Popen(
            command, env={**os.environ, "TMPDIR": str(self.temporary)},
            **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True,
               "stdin": subprocess.DEVNULL, **options})

    def wait_round(self):
        """Until the second round is done."""
        for line in self.process.stderr:
            if line.startswith("round 2 of 500 done"):
                return
        pytest.fail(f"it ended with status {self.process.wait()}")

    def left(self):
        """The processes of this run that are there: their environment names its directory."""
        mine = str(self.temporary).encode()
        return [pid for pid in os.listdir("/proc") if pid.isdigit() and mine in environment(pid)]

    def stop(self):
        self.process.kill()
        self.process.wait()
        for pid in self.left():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)


def environment(pid):
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""


@pytest.fixture
def running(tmp_path):
    """A function that starts tune.py; see Running."""
    started = []

    def start(*before, **options):
        started.append(Running(tmp_path, *before, **options))
        return started[-1]

    yield start
    for each in started:
        each.stop()


@needs_echoload
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT, signal.SIGTERM,
                                    signal.SIGHUP])
def test_ctrl_c_stops_the_server_and_tells_what_there_is(tmp_path, running, number):
    run = running()
    run.wait_round()
    wait_for(lambda: len(run.left()) > 1, what="a server")
    run.process.send_signal(number)
    output, errors = run.process.communicate(timeout=seconds(30))
    assert run.process.returncode == 130, errors
    assert re.search(r"^script/bench: interrupted after \d+ runs$", errors, re.MULTILINE), errors
    assert "5 x 64 B" in output
    assert (tmp_path / "out" / "tune.json").exists()
    assert not run.left()
    assert not list(run.temporary.iterdir())


@needs_echoload
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGUSR1])
def test_whatever_ends_it_ends_the_server_and_the_generator(running, number):
    needs_program("setpriv")
    run = running()
    run.wait_round()
    # Itself, the server and the generator.
    wait_for(lambda: len(run.left()) > 2, what="a run")
    run.process.send_signal(number)
    assert run.process.wait(seconds(30)) == -number
    wait_for(lambda: not run.left(), what="the end of both")


@needs_echoload
def test_a_terminal_that_is_closed_ends_it_and_leaves_the_files(tmp_path, running):
    try:
        master, slave = os.openpty()
    except OSError as error:
        pytest.skip(f"no terminal: {error}")
    run = running("setsid", "--ctty", stdin=slave, stdout=slave, stderr=slave)
    os.close(slave)
    with open(master, "rb", buffering=0) as terminal:
        shown = b""
        while b" 2/500" not in shown:
            shown += terminal.read(1000)
    run.process.wait(seconds(30))
    assert not run.left()
    assert len(json.loads((tmp_path / "out" / "tune.json").read_text())["runs"]) >= 2


@needs_echoload
def test_what_was_measured_is_told_when_the_next_run_cannot_start(tmp_path, running):
    """As with a full disk: there is no place for the next server's directory."""
    run = running()
    run.wait_round()
    run.temporary.rename(tmp_path / "gone")
    output, errors = run.process.communicate(timeout=seconds(30))
    assert run.process.returncode == 1, errors
    assert re.search(r"^script/bench: .*No such file or directory", errors, re.MULTILINE), errors
    assert "5 x 64 B" in output and (tmp_path / "out" / "tune.json").exists()
    assert not run.left()


def test_the_help_fits_the_screen_and_shows_examples(tmp_path):
    done = tune(tmp_path, "--help")
    assert done.returncode == 0
    assert max(map(len, done.stdout.splitlines())) <= 100
    assert "examples:" in done.stdout
