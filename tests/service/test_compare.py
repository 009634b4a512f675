"""bench/compare.py: its ratios and targets on made-up rows, and short runs of the program."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from comparing import comparison, loads, peers, targets, trial
from harness import CHECKOUT, PROGRAM, seconds, wait_for

BENCH = CHECKOUT / "bench"
BUILD = Path(PROGRAM).parent
ECHOLOAD = BUILD / "bench" / "echoload"
needs_echoload = pytest.mark.skipif(
    not ECHOLOAD.is_file(), reason="needs echoload: script/build --bench builds it")
SHORT = ("--rounds", "1", "--limit", "0", "--duration", "0.2", "--warmup", "0.05")


# Ratios.

def run_row(peer, throughput, *, load="50", number=1, **figures):
    """A row of one run, as trial.run() makes it."""
    return {"load": load, "peer": peer, "round": number, "ok": True, "echoes_per_s": throughput,
            "latency_us_p99": 100.0, "cpu_server_us_per_echo": 5.0, "errors_wrong": 0,
            "errors_reset": 0, "starved": 0, **figures}


def failed_row(peer, error, *, load="50", number=1):
    return {"load": load, "peer": peer, "round": number, "ok": False, "error": error}


def summary_of(rows, peer, load="50"):
    found = [row for row in comparison.summarize(rows)
             if (row["load"], row["peer"]) == (load, peer)]
    assert len(found) == 1
    return found[0]


def test_ratios_are_those_of_medians_to_the_best_of_the_load():
    rows = [run_row("echopool", throughput, number=number, latency_us_p99=50.0)
            for number, throughput in enumerate((100, 900, 200), 1)]
    rows += [run_row("epoll", 400, number=number) for number in (1, 2, 3)]
    rows += [run_row("epoll", 4000, load="8", number=1)]
    own, other = summary_of(rows, "echopool"), summary_of(rows, "epoll")
    assert [own[f"echoes_per_s{end}"] for end in ("", "_low", "_high")] == [200, 100, 900]
    assert (own["echoes_per_s_ratio"], other["echoes_per_s_ratio"]) == (0.5, 1.0)
    assert (own["latency_us_p99_ratio"], other["latency_us_p99_ratio"]) == (1.0, 2.0)


def test_a_server_that_failed_once_is_not_the_best_of_anything():
    rows = [run_row("echopool", 100), run_row("echopool", 100, number=2),
            run_row("epoll", 1000), failed_row("epoll", "it died", number=2)]
    own, other = summary_of(rows, "echopool"), summary_of(rows, "epoll")
    assert (own["echoes_per_s_ratio"], other["echoes_per_s_ratio"]) == (1.0, 10.0)
    assert (other["failed"], other["runs"], other["error"]) == (1, 2, "it died")


@pytest.mark.parametrize("limited, note", [
    (3, "the generator was at its limit$"), (2, "the generator was at its limit in 2 of 5 runs$"),
    (1, "$")])
def test_rounds_that_the_generator_limited_are_noted(limited, note):
    rows = [run_row("echopool", 1000, number=number,
                    limited_by="generator" if number < limited else "none")
            for number in range(5)]
    case, = (load for load in loads.LOADS if load.key == "50")
    peer = SimpleNamespace(key="echopool", name="echopool", refuses=lambda _: None)
    shown = comparison.load_table(case, [peer], comparison.summarize(rows))
    assert re.search(f"^echopool .* 0 +{note}" if limited > 1 else "^echopool .* 0$", shown,
                     re.MULTILINE), shown


def test_without_any_figure_there_is_no_ratio():
    assert summary_of([failed_row("epoll", "it died")], "epoll")["echoes_per_s_ratio"] is None


def test_the_worst_round_counts_for_wrong_bytes_and_lost_connections():
    rows = [run_row("uv", 100), run_row("uv", 100, number=3),
            run_row("uv", 100, number=2, ok=False, errors_wrong=7, errors_reset=2, starved=3)]
    found = summary_of(rows, "uv")
    assert [found[f"{key}_high"] for key in comparison.COUNTS] == [7, 3, 2]


# Targets.

def judged(rows, load, value="echoes_per_s", against=None):
    found = [row for row in targets.judge(comparison.summarize(rows), rows)
             if (row["load"], row["value"]) == (load, value)
             and row["against"] == (against or ("threaded" if load == "churn" else "peers"))]
    assert len(found) == 1
    return found[0]


@pytest.mark.parametrize("load, own, reached", [
    ("1", 2300, True), ("1", 2299, False), ("2", 2500, True), ("2", 2499, False),
    ("4", 1200, True), ("4", 1199, False), ("50", 1050, True), ("50", 1049, False),
    ("1000", 1000, True), ("1000", 999, False), ("8x64k", 1250, True), ("8x64k", 1249, False)])
def test_throughput_is_held_against_the_best_of_the_others(load, own, reached):
    rows = [run_row("echopool", own, load=load), run_row("epoll", 700, load=load),
            run_row("go", 1000, load=load)]
    found = judged(rows, load)
    assert (found["whose"], found["reached"]) == ("go", reached)
    assert found["ratio"] == pytest.approx(own / 1000)


def test_cpu_is_held_against_the_lowest():
    rows = [run_row("echopool", 1000, cpu_server_us_per_echo=5.25),
            run_row("epoll", 1000, cpu_server_us_per_echo=6.0),
            run_row("uv", 1000, cpu_server_us_per_echo=5.0)]
    found = judged(rows, "50", "cpu_server_us_per_echo")
    assert (found["whose"], found["reached"]) == ("uv", True)
    assert found["ratio"] == pytest.approx(1.05)
    rows[0]["cpu_server_us_per_echo"] = 5.26
    assert judged(rows, "50", "cpu_server_us_per_echo")["reached"] is False


def test_new_connections_are_held_against_servers_with_several_threads():
    rows = [run_row("echopool", 950, load="churn"), run_row("epoll", 9000, load="churn"),
            run_row("go", 1000, load="churn"), run_row("threads", 900, load="churn")]
    found = judged(rows, "churn")
    assert (found["whose"], found["reached"]) == ("go", True)
    rows[0]["echoes_per_s"] = 949
    assert judged(rows, "churn")["reached"] is False


def test_the_best_is_chosen_first_and_only_the_pairs_after_that_count():
    first = [run_row("echopool", 2000), run_row("epoll", 1000), run_row("go", 900)]
    after = [run_row(peer, throughput, number=number) for number in range(2, 9)
             for peer, throughput in (("echopool", 1000), ("epoll", 1000 + number), ("go", 3000))]
    found, = [row for row in targets.judge(comparison.summarize(first), after)
              if row["value"] == "echoes_per_s"]
    assert found["whose"] == "epoll" and found["ratio"] == pytest.approx(1 / 1.005, rel=0.001)
    assert found["sure"] and not found["reached"]


def test_at_a_rate_the_best_is_that_of_the_load_which_the_rate_comes_from():
    first = [run_row("echopool", 900), run_row("epoll", 1000), run_row("go", 800)]
    after = [run_row(peer, 600, load="rate", latency_us_p99=p99)
             for peer, p99 in (("echopool", 110.0), ("epoll", 100.0), ("go", 10.0))]
    found, = [row for row in targets.judge(comparison.summarize(first), first + after)
              if row["load"] == "rate"]
    assert (found["whose"], found["reached"]) == ("epoll", True)
    assert found["ratio"] == pytest.approx(1.1)


@pytest.mark.parametrize("noise, known", [(0.01, True), (0.2, False)])
def test_a_ratio_is_known_when_its_interval_is_narrow(noise, known):
    first = [run_row("echopool", 1000), run_row("epoll", 1000)]
    pair, = [pair for pair in targets.chosen(comparison.summarize(first))
             if pair[0].value == "echoes_per_s" and pair[0].load == "50"]
    rows = [run_row(peer, 1000 * (1 + noise * (number % 3) * (peer == "epoll")), number=number)
            for number in range(2, 8) for peer in ("echopool", "epoll")]
    assert targets.is_known(rows, pair) == known
    assert not targets.is_known(rows[:8], pair)


@pytest.mark.parametrize("interval, text", [
    ((0.97, 1.04), "even, 0.97 to 1.04"), ((1.01, 1.04), "1.01 to 1.04"),
    ((0.9, 0.99), "0.90 to 0.99"), ((None, None), None)])
def test_what_cannot_be_told_apart_is_even(interval, text):
    assert comparison.interval_text(*interval) == text


@pytest.mark.parametrize("bad", [
    run_row("echopool", 5000, number=2, ok=False, errors_wrong=1),
    failed_row("echopool", "it died", number=2)], ids=["wrong bytes", "no figures"])
def test_a_round_in_which_echopool_failed_reaches_nothing(bad):
    rows = [run_row("echopool", 2000), run_row("epoll", 1000), run_row("epoll", 1000, number=2),
            bad]
    assert judged(rows, "50")["reached"] is False
    assert judged([row for row in rows if row["round"] == 1], "50")["reached"] is True


def test_echopool_is_not_held_against_a_round_of_its_own_that_failed():
    rows = [run_row("echopool", 1000, ok=False, errors_wrong=1),
            run_row("echopool", 940, load="idle")]
    assert judged(rows, "idle", against="50")["reached"] is None


def test_idle_connections_are_held_against_echopool_without_them():
    rows = [run_row("echopool", 1000), run_row("epoll", 9000),
            run_row("echopool", 940, load="idle"), run_row("epoll", 500, load="idle")]
    found = judged(rows, "idle", against="50")
    assert (found["whose"], found["reached"]) == ("echopool", False)
    assert found["ratio"] == pytest.approx(0.94)


def test_a_target_without_its_standard_is_not_judged():
    assert judged([run_row("echopool", 940, load="idle")], "idle", against="50")["reached"] is None
    assert judged([run_row("epoll", 940)], "50")["reached"] is None


def test_rounds_are_compared_in_pairs_and_the_interval_says_how_surely():
    """What changes both figures of a round changes no ratio; the other one's own noise does."""
    rows = [run_row("echopool", own * drift, number=number)
            for number, (own, drift) in enumerate(zip([1.1] * 9, range(100, 1000, 100)))]
    rows += [run_row("epoll", drift, number=number)
             for number, drift in enumerate(range(100, 1000, 100))]
    found = judged(rows, "50")
    assert found["ratio"] == pytest.approx(1.1) and found["sure"] and found["reached"]
    other = summary_of(rows, "epoll")
    assert other["echoes_per_s_ratio_low"] == pytest.approx(1 / 1.1)
    for number, row in enumerate(rows[9:]):
        row["echoes_per_s"] *= 0.85 + 0.15 * (number % 3)
    assert judged(rows, "50")["low"] < 1.05 < judged(rows, "50")["high"]
    assert judged(rows, "50")["sure"] is False
    assert "yes, not sure" in targets.target_table(targets.judge(
        comparison.summarize(rows), rows), [])


def test_a_few_rounds_have_no_interval():
    rows = [run_row("echopool", 1000), run_row("epoll", 900)]
    assert judged(rows, "50")["low"] is None and not judged(rows, "50")["sure"]


# Tables.

def test_a_server_that_is_not_run_is_listed_with_the_reason():
    case = next(case for case in loads.LOADS if case.key == "1000")
    known = [peers.Peer("echopool", "echopool"), peers.Peer("go", "Go net", missing="no go here"),
             peers.Peer("socat", "socat", most_clients=999)]
    text = comparison.load_table(case, known, comparison.summarize(
        [run_row("echopool", 12345, load="1000")]))
    assert re.search(r"^echopool +12,345 +1\.00 ", text, re.MULTILINE)
    assert re.search(r"^Go net .* not run: no go here$", text, re.MULTILINE)
    assert re.search(r"^socat .* not run: a process for each of 1,000 clients$", text, re.MULTILINE)


# The program.

def compare(*arguments, **options):
    return subprocess.run([BENCH / "compare.py", *map(str, arguments)],
                          capture_output=True, text=True, timeout=seconds(120), check=False,
                          **options)


def compare_enough(*arguments, **options):
    """As compare(), but again and longer where a run had no answer in its measured time."""
    for duration in (0.05, 0.5, 3):
        done = compare(*arguments, "--duration", duration, **options)
        if "nothing was answered" not in done.stderr:
            break
    return done


@needs_echoload
def test_echopool_beside_an_epoll_loop(tmp_path):
    output = tmp_path / "out"
    for duration in (0.2, 1, 5):
        done = compare("--build", BUILD, "--peers", "epoll", "--loads", "50,8x64k", "--rounds",
                       1, "--duration", duration, "--warmup", 0.05, "--limit", 4 * duration,
                       "--workers", 1, "--output", output)
        # A busy machine may leave no answer in the measured time, or no CPU time that is seen.
        runs = json.loads((output / "compare.json").read_text())["runs"]
        if all(row["echoes"] and row["cpu_server_us_per_echo"] for row in runs):
            break
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^echopool +1 +[\d,]+ ", done.stdout, re.MULTILINE)
    assert re.search(r"^epoll loop +- +[\d,]+ ", done.stdout, re.MULTILINE)
    text = (output / "compare.txt").read_text()
    assert text in done.stdout
    found = json.loads((output / "compare.json").read_text())
    servers = sorted((load, peer) for load in ("50", "8x64k") for peer in ("echopool", "epoll"))
    assert sorted((row["load"], row["peer"]) for row in found["runs"]) == servers
    pairs_of_one = [row for row in found["pairs"] if row["round"] == 2]
    assert sorted((row["load"], row["peer"]) for row in pairs_of_one) == servers
    for row in found["runs"]:
        assert row["ok"] and row["echoes"] > 0 and row["memory_bytes"] > 0
    medians = {(row["load"], row["peer"]): row for row in found["medians"]}
    assert len(medians) == 4
    for row in medians.values():
        assert f" {row['echoes_per_s']:,.0f} " in text
    assert [(row["load"], row["value"]) for row in found["targets"]] == [
        ("50", "echoes_per_s"), ("50", "cpu_server_us_per_echo"), ("8x64k", "echoes_per_s")]
    for row in found["targets"]:
        assert row["ratio"] == pytest.approx(comparison.paired(
            found["pairs"], row["value"], (row["load"], "echopool"), (row["load"], "epoll")).times)
        assert f" {row['ratio']:.3f} " in text
    medians = (output / "compare-medians.csv").read_text().splitlines()
    assert len(medians) == 5 and len(set(map(len, (line.split(",") for line in medians)))) == 1


@needs_echoload
def test_the_pool_size_is_found_by_a_sweep_and_can_be_given_again(tmp_path):
    one_cpu = {min(os.sched_getaffinity(0))}  # there are fewer sizes to try
    done = compare_enough("--build", BUILD, "--peers", "uv", "--loads", "1,8", *SHORT[:4],
                          "--warmup", 0, "--workers", "1=3", "--output", tmp_path,
                          preexec_fn=lambda: os.sched_setaffinity(0, one_cpu))
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "compare.json").read_text())
    size = found["loads"][1]["workers"]
    assert size >= 1 and found["loads"][1]["reason"] and not found["loads"][0]["reason"]
    assert f"for the same again: --workers 1=3,8={size}\n" in done.stdout
    own = [row for row in found["runs"] if row["peer"] == "echopool"]
    assert {row["load"]: row["workers"] for row in own} == {"1": 3, "8": size}


def test_a_sweep_that_ended_early_chooses_no_size(monkeypatch):
    """The size that it did not reach may be the best."""
    def run(self, wanted, sizes, *_):
        self.rows = [{"round": 1, "load": wanted[0].name, "workers": sizes[0], "ok": True,
                      "echoes_per_s": 1000.0, "p99_us": 100.0}]
        raise trial.server.ServerFailed("it died")

    monkeypatch.setattr(trial.sweep.Sweep, "run", run)
    said = []
    cases = [case for case in loads.LOADS if case.key in ("1", "8")]
    bench = trial.Bench("echopool", "echoload", None, [], {"threads": 1})
    found = trial.choose_workers(bench, cases, [1, 2], 3, SimpleNamespace(say=said.append))
    assert found == {"1": (None, trial.UNFINISHED), "8": (None, trial.UNFINISHED)}
    assert said == ["failed: the sweep of pool sizes: it died"]


@needs_echoload
def test_without_a_place_for_the_files_the_result_is_still_told(tmp_path):
    (tmp_path / "compare.txt").mkdir()
    done = compare_enough("--build", BUILD, "--peers", "epoll", "--loads", "1", *SHORT[:4],
                          "--warmup", "0.05", "--workers", 1, "--output", tmp_path)
    assert done.returncode == 1
    assert re.search(r"^bench/compare.py: .*Is a directory", done.stderr, re.MULTILINE), done.stderr
    assert re.search(r"^echopool +1 +[\d,]+ ", done.stdout, re.MULTILINE)


@needs_echoload
def test_a_program_is_found_where_it_is_and_not_in_the_path(tmp_path):
    done = compare("--build", ".", "--program", "echopool", "--set", "pool.workers=70000",
                   "--output", tmp_path, cwd=BUILD)
    assert done.returncode == 2
    assert "pool.workers: found 70000" in done.stderr


def fake_build(directory, script):
    """A build directory in which the peers are this shell script."""
    place = directory / "build" / "bench" / "peers"
    place.mkdir(parents=True)
    for name in ("epoll_loop", "uv_loop"):
        (place / name).write_text(f"#!/bin/sh\n{script}\n")
        (place / name).chmod(0o755)
    return directory / "build"


@needs_echoload
def test_what_cannot_run_is_told_and_does_not_end_the_rest(tmp_path):
    build = fake_build(tmp_path, "echo no such luck; exit 3")
    done = compare_enough("--build", build, "--program", PROGRAM, "--echoload", ECHOLOAD, "--loads",
                          "1", "--peers", "epoll,threads,go", *SHORT[:4], "--warmup", "0.05",
                          "--workers", 1, "--output", tmp_path,
                          env={**os.environ, "PATH": "/nonexistent"})
    assert done.returncode == 0, done.stdout + done.stderr
    for name, note in (
            ("epoll loop", "failed in 1 of 1 runs: epoll loop ended with status 3: no such luck"),
            ("thread per client", r"not run: \S+/thread_per_connection is not there; build it"),
            ("Go net", "not run: go is not there; install Debian's golang-go")):
        assert re.search(f"^{name} .* {note}$", done.stdout, re.MULTILINE), done.stdout
    assert re.search(r"^echopool +1 +[\d,]+ +1\.00 ", done.stdout, re.MULTILINE)
    assert "note: no plots: gnuplot is not there" in done.stdout


@needs_echoload
def test_an_echopool_that_fails_is_exit_status_1(tmp_path):
    done = compare("--build", BUILD, "--peers", "epoll", "--loads", "1", *SHORT, "--workers", 1,
                   "--echoload", "/bin/true", "--output", tmp_path)
    assert done.returncode == 1
    assert re.search(r"^echopool .* failed in 1 of 1 runs: ", done.stdout, re.MULTILINE)


@needs_echoload
def test_ctrl_c_tells_what_was_measured(tmp_path):
    log = tmp_path / "log"
    with open(log, "wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, BENCH / "compare.py", "--build", BUILD, "--peers", "epoll", "--loads",
             "1", "--rounds", "1000", *SHORT[2:], "--workers", "1", "--output", tmp_path],
            stdout=subprocess.PIPE, stderr=stderr, text=True)
        try:
            wait_for(lambda: "round 1 of 1000 done" in log.read_text(), 30, "the first round")
            process.send_signal(signal.SIGINT)
            output, _ = process.communicate(timeout=seconds(30))
        finally:
            process.kill()
            process.wait()
    assert process.returncode == 130
    assert "note: interrupted: not all of the rounds were run" in output
    assert json.loads((tmp_path / "compare.json").read_text())["interrupted"] is True


@pytest.mark.parametrize("arguments, said", [
    (("--loads", "50,60"),
     "60: there is no such load; expected one of 1, 2, 4, 8, 50, 1000, 5000, 8x64k"),
    (("--peers", "nginx"), "nginx: there is no such server; expected one of echopool, epoll, cpus"),
    (("--workers", "0"), "0: expected a number from 1 to 1024, or LOAD=N,LOAD=N as 50=1,1000=2"),
    (("--workers", "60=2"), "60=2: expected a number from 1 to 1024"),
    (("--rounds", "0"), "0: expected a whole number from 1 to 1000"),
], ids=["load", "peer", "workers", "workers of a load", "rounds"])
def test_wrong_usage_says_what_would_be_right(arguments, said):
    done = compare(*arguments)
    assert done.returncode == 2
    assert said in done.stderr


def test_a_missing_build_is_told(tmp_path):
    done = compare("--build", tmp_path, "--output", tmp_path)
    assert done.returncode == 1
    assert f"{tmp_path}/echopool is not there" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@needs_echoload
def test_a_wrong_setting_is_told_by_echopool_itself(tmp_path):
    done = compare("--build", BUILD, "--set", "pool.workers=70000", "--output", tmp_path)
    assert done.returncode == 2
    assert "pool.workers: found 70000" in done.stderr


def test_help_names_every_server_and_load():
    text = compare("--help").stdout
    for key in [*peers.WHAT, *(case.key for case in loads.LOADS)]:
        assert re.search(rf"^  {key} +\S", text, re.MULTILINE), key
