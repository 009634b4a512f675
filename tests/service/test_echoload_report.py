"""The forms of the load generator's report: table, JSON, CSV, distribution and live line."""

import csv
import io
import json
import re
import signal
import subprocess

import pytest

from echoload import (DISTRIBUTION, ECHOLOAD, KEYS, at, close, distribution,
                      measure_all_served, needs_echoload, on_a_terminal, run)
from harness import CHECKOUT, environment, error_lines, seconds, wait_for
from odd_servers import Corrupting, EchoServer

pytestmark = needs_echoload

MANUAL = CHECKOUT / "man" / "echoload.1"
QUICK = ("-w", 0, "-d", 0.1, "-c", 3)
NO_ANSWER = "no answer came in the measured time"


@pytest.fixture(name="server")
def right_server():
    with EchoServer() as server:
        yield server


def run_well(*arguments):
    """The standard output of a run that goes well; longer where nobody was answered yet."""
    for duration in (0.1, 1, 5):
        result = run(*arguments, "-d", duration)
        if NO_ANSWER not in result.stderr:
            break
    assert result.returncode == 0 and error_lines(result) == []
    return result.stdout


@pytest.mark.parametrize("options", [(), ("-r", 500, "-P"), ("-m", 1, "-i", 2), ("-a", 50)])
def test_the_table_fits_a_terminal_and_names_what_there_is(server, options):
    out = run_well(*QUICK, *options, at(server.address))
    for words in (at(server.address), "p50", "p90", "p99", "p99.9", "max", "faults", "none",
                  "generator", "limited by"):
        assert words in out, words
    assert ("starved" in out) == ("-m" not in options and "-a" not in options)
    assert ("schedule" in out) == ("-r" in options or "-a" in options)
    assert all(len(line) <= 100 and line == line.rstrip() for line in out.splitlines())


def test_the_table_shows_errors_too():
    with Corrupting(every=1000) as server:
        result = run(*QUICK, at(server.address))
        assert result.returncode == 1
        assert re.search(rf"wrong\D*{server.corrupted}\b", result.stdout)


def test_json_on_standard_output_is_alone_there(server):
    report = json.loads(run_well(*QUICK, "-j", "-", at(server.address)))
    assert report["echoload"] == run("--version").stdout.split()[1]


def test_json_in_a_file_leaves_the_table(server, tmp_path):
    file = tmp_path / "result.json"
    file.write_text("what was there before\n" * 1000)
    out = run_well(*QUICK, "--json", file, at(server.address))
    assert json.loads(file.read_text())["options"]["connections"] == 3
    assert "p99.9" in out


def test_every_key_is_in_the_manual_page():
    text = MANUAL.read_text(encoding="utf-8").split(".Ss JSON")[1].split(".Sh ")[0]
    entries = re.findall(r"^\.It Cm (.*)$", text, flags=re.MULTILINE)
    said = [key for entry in entries for key in entry.split(" , ")]
    assert sorted(said) == sorted(
        f"{outer}.{key}" if outer else key
        for outer, keys in KEYS.items() for key in keys.split() if outer or key not in KEYS)


def test_csv_has_one_header_and_a_line_for_each_run(server, tmp_path):
    file = tmp_path / "runs.csv"
    for options in ((), ("-m", 1), ("-r", 500, "-s", "10-20"), ("-a", 50)):
        assert "p99.9" in run_well(*QUICK, *options, "--csv", file, at(server.address))
    text = file.read_text()
    assert len(text.splitlines()) == 5 and text.endswith("\n")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [len(row) for row in rows] == [len(text.splitlines()[0].split(","))] * 4
    assert all(None not in row and None not in row.values() for row in rows)


def test_csv_has_the_figures_of_the_json_object(server, tmp_path):
    file = tmp_path / "run.csv"
    report = measure_all_served(server.address, "-c", 3, "--csv", file)
    *_, row = csv.DictReader(file.read_text().splitlines())
    assert row["target"] == report["target"]
    assert float(row["echoes"]) == report["echoes"]
    assert float(row["echoes_per_s"]) == report["echoes_per_s"]
    for key in DISTRIBUTION.split():
        names = [name for name in row if name.startswith("latency") and name.endswith("_" + key)]
        assert names and float(row[names[0]]) == report["latency_us"][key], key


def test_csv_on_standard_output_is_alone_there(server):
    lines = run_well(*QUICK, "--csv", "-", at(server.address)).splitlines()
    assert len(lines) == 2 and lines[0].startswith("echoload,")


@pytest.mark.parametrize("options", [("-c", 3), ("-c", 3, "-r", 2000), ("-m", 1)])
def test_the_distribution_gives_the_percentiles(server, tmp_path, options):
    file = tmp_path / "run.hist"
    report = measure_all_served(server.address, *options, "--hist", file)
    rows = distribution(file)
    latencies, counts, shares = zip(*rows)
    latency = report["latency_us"]
    assert sum(counts) == latency["count"] and min(counts) > 0
    assert list(latencies) == sorted(set(latencies))
    assert list(shares) == sorted(shares) and shares[-1] == 1
    for (_, _, share), total in zip(rows, running_sums(counts)):
        assert abs(share - total / latency["count"]) < 1e-5
    for key, wanted in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99_9", 0.999)):
        found = next(us for us, total in zip(latencies, running_sums(counts))
                     if total >= wanted * latency["count"])
        assert close(found, latency[key], 0.01), key
    mean = sum(us * count for us, count, _ in rows) / latency["count"]
    assert close(mean, latency["mean"], 0.02)


def running_sums(counts):
    total = 0
    for count in counts:
        total += count
        yield total


@pytest.mark.parametrize("option", ["--json", "--csv", "--hist"])
def test_a_file_that_cannot_be_written_is_told_before_the_load(server, option, tmp_path):
    result = run("-d", 600, option, tmp_path / "none" / "file", at(server.address))
    assert result.returncode == 1
    [line] = error_lines(result)
    assert "No such file or directory" in line and str(tmp_path) in line


@pytest.mark.parametrize("option", ["--json", "--csv", "--hist"])
def test_a_full_disk_is_told(server, option):
    result = run(*QUICK, option, "/dev/full", at(server.address))
    assert result.returncode == 1
    assert any("/dev/full" in line and "No space left" in line for line in error_lines(result))


def run_on(terminal, *arguments):
    """Starts a run whose stderr is a terminal."""
    return subprocess.Popen([ECHOLOAD, *map(str, arguments)], stdout=subprocess.PIPE,
                            stderr=terminal.end, text=True, env=environment())


def end_well(process, timeout=20):
    """Waits for the end of a run and returns its standard output."""
    try:
        out = process.communicate(timeout=seconds(timeout))[0]
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0
    return out


def test_the_live_line_is_shown_on_a_terminal_and_wiped(server):
    with on_a_terminal() as terminal:
        process = run_on(terminal, "-w", 0, "-d", 60, "-c", 2, at(server.address))
        try:
            wait_for(lambda: "p99" in terminal.shown(), what="the line")
        finally:
            process.send_signal(signal.SIGINT)
            out = end_well(process)
        shown = terminal.shown()
    assert "\r" in shown and "left" in shown
    assert shown.count("\n") == 0 and "p99.9" in out
    assert shown.endswith(("\r", "\x1b[K"))


def test_the_live_line_is_not_shown_when_quiet(server):
    """It would be, after half a second."""
    with on_a_terminal() as terminal:
        end_well(run_on(terminal, "-q", "-w", 0, "-d", 0.7, "-c", 2, at(server.address)))
        assert terminal.shown() == ""
