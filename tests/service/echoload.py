"""Runs the load generator against a server, and looks at its report.

The program is $ECHOLOAD, or bench/echoload beside the program under test.
"""

import contextlib
import json
import os
import pty
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness import PROGRAM, environment, error_lines, run_program, seconds, span, wait_for

ECHOLOAD = os.environ.get("ECHOLOAD", str(Path(PROGRAM).parent / "bench" / "echoload"))

OPTIONS = ("connections threads size_min size_max pipeline messages idle duration_s warmup_s rate "
           "arrivals poisson connect_rate timeout_s seed")
DISTRIBUTION = "count mean p50 p90 p99 p99_9 max min stddev"
KEYS = {
    "": "echoload target options seconds echoes echoes_per_s bytes_per_s latency_us opened "
        "opened_per_s connect_us errors starved fairness cpu limited_by schedule ok label began "
        "interrupted unanswered generator disturbed undelayed_us connect_undelayed_us "
        "uncorrected_us",
    "options": OPTIONS,
    "latency_us": DISTRIBUTION,
    "connect_us": DISTRIBUTION,
    "undelayed_us": DISTRIBUTION,
    "connect_undelayed_us": DISTRIBUTION,
    "uncorrected_us": DISTRIBUTION,
    "generator": "held_share held_max_us",
    "errors": "refused reset timed_out wrong short other",
    "cpu": "generator server machine cpus quota generator_us_per_echo server_us_per_echo",
    "schedule": "sent_share late_share late_max_us kept",
}
needs_echoload = pytest.mark.skipif(
    not os.path.exists(ECHOLOAD), reason="needs echoload: it is built where jansson is")

LIMITS = {"quota", "generator", "server", "machine", "none"}


@dataclass
class Outcome:
    """A run that has ended: its exit status, its report and what it said on stderr."""

    status: int
    report: dict
    said: list

    @property
    def errors(self):
        """Only the kinds of error that there were."""
        return {kind: count for kind, count in self.report["errors"].items() if count}


def at(address):
    """An address as the program takes it."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def run(*arguments, timeout=20, **popen):
    """Runs the program to its end; the result has returncode, stdout and stderr."""
    return run_program(*arguments, program=ECHOLOAD, timeout=timeout, **popen)


def outcome_of(result):
    """What a run with -j - has reported, which must be whole and agree with itself."""
    said = error_lines(result)
    assert result.stdout, said
    outcome = Outcome(result.returncode, json.loads(result.stdout), said)
    check(outcome)
    return outcome


def measure(address, *options, duration=0.2, warmup=0.05, timeout=20):
    """Loads a server and returns the outcome."""
    return outcome_of(run("-j", "-", "-d", duration, "-w", warmup, *options, at(address),
                          timeout=timeout))


def measure_well(address, *options, duration=0.2, **how):
    """As measure(), with a server that is expected to be right.

    Longer where a busy machine let no answer come in the measured time.
    """
    for longer in (1, 5, 25):
        outcome = measure(address, *options, duration=duration * longer, **how)
        if has_measured(outcome.report) or outcome.errors:
            break
    assert outcome.status == 0 and outcome.said == [], outcome
    return outcome.report


@contextlib.contextmanager
def loading(address, *options):
    """A run that goes on until the test has seen enough, for 60 s at most; see interrupted()."""
    process = subprocess.Popen(
        [ECHOLOAD, "-q", "-j", "-", "-w", "0", "-d", "60", *map(str, options), at(address)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment())
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def interrupted(process):
    """Ends such a run as Ctrl-C does, and returns the outcome."""
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=seconds(20))
    return outcome_of(subprocess.CompletedProcess([], process.returncode, out, err))


def measure_until(address, happened, *options):
    """Loads a server until something has happened, and returns the outcome."""
    with loading(address, *options) as process:
        wait_for(lambda: happened() or process.poll() is not None, timeout=30)
        return interrupted(process)


def measure_enough(address, *options, enough, **how):
    """As measure_well(), but again and longer where the report is not enough yet."""
    for duration in (0.2, 1, 5):
        report = measure_well(address, *options, duration=span(duration), **how)
        if enough(report):
            return report
    raise AssertionError(f"not enough in {span(duration)} s: {report}")


def measure_all_served(address, *options, **how):
    """As measure_enough(), until everybody got an answer."""
    return measure_enough(address, *options, **how,
                          enough=lambda report: report["echoes"] and not report["starved"])


class Terminal:
    """A terminal for a program: the end to give to it, and what it has shown so far."""

    def __init__(self):
        try:
            self._master, self.end = pty.openpty()
        except OSError as error:
            pytest.skip(f"needs a pseudo-terminal: {error}")
        os.set_blocking(self._master, False)
        self._text = ""

    def shown(self):
        with contextlib.suppress(BlockingIOError):
            self._text += os.read(self._master, 1 << 16).decode()
        return self._text

    def close(self):
        os.close(self._master)
        os.close(self.end)


def on_a_terminal():
    """A terminal, in a with statement."""
    return contextlib.closing(Terminal())


def has_measured(report):
    """Whether an answer came in the measured time, or to what was due in it."""
    return bool(report["echoes"] or report["latency_us"]["count"])


def check(outcome):
    """A report has all its keys, and none of its figures contradicts another."""
    report = outcome.report
    assert list(report) == KEYS[""].split()
    for outer, keys in KEYS.items():
        if outer and report[outer] is not None:
            assert list(report[outer]) == keys.split(), outer
    assert outcome.status == (0 if report["ok"] else 1)
    assert report["ok"] == (outcome.errors == {} and not report["unanswered"]
                            and has_measured(report))
    check_limit(report)
    check_schedule(report)
    check_distribution(report["latency_us"])
    check_distribution(report["connect_us"])
    check_distribution(report["uncorrected_us"])
    check_rates(report)
    check_delays(report)


def check_distribution(figures):
    """Each percentile is at most the next one."""
    if figures["count"] == 0:
        assert not any(figures.values())
        return
    percentiles = [figures[key] for key in ("p50", "p90", "p99", "p99_9", "max")]
    assert percentiles == sorted(percentiles) and percentiles[0] > 0, figures
    assert 0 < figures["min"] <= percentiles[0] and figures["stddev"] >= 0
    assert 0 < figures["mean"] <= figures["max"], figures


def check_limit(report):
    """The word agrees with the figures that are told; rounded ones say nothing at the very edge."""
    cpu = report["cpu"]
    by, generator, machine = report["limited_by"], cpu["generator"], cpu["machine"]
    assert by in LIMITS and 0 <= machine <= 1
    if by == "quota":
        assert cpu["quota"] > 0
        return
    full_of_others = machine - 0.97, 0.95 * cpu["cpus"] - generator
    full = generator - 0.95 * min(report["options"]["threads"], cpu["cpus"])
    edge = 0.001
    if min(full_of_others) > edge:
        assert by == "machine", report
    if min(full_of_others) < -edge:
        assert by != "machine", report
        assert by == "generator" or full <= edge, report


def check_schedule(report):
    """Kept: 99 % were sent, and 1 % of these late at most."""
    schedule = report["schedule"]
    if schedule is not None and schedule["kept"] is not None:
        assert schedule["kept"] == (schedule["sent_share"] >= 0.99
                                    and schedule["late_share"] <= 0.01), schedule
        assert (schedule["late_share"] == 0) == (schedule["late_max_us"] == 0), schedule


def check_delays(report):
    """What the generator delayed is the difference of two figures; beyond a bound it is marked."""
    seen, undelayed = report["latency_us"], report["undelayed_us"]
    assert report["uncorrected_us"]["count"] == (0 if report["schedule"] is None else seen["count"])
    assert 0 <= report["generator"]["held_share"] <= 1
    if report["disturbed"] is None or not seen["count"]:
        return
    assert undelayed["count"] == seen["count"]
    over = [seen[key] - 1.05 * undelayed[key] - 50 for key in ("p50", "p90", "p99", "p99_9")]
    late = (report["schedule"] or {}).get("late_share") or 0
    assert all(undelayed[key] <= seen[key] for key in ("min", "p50", "p90", "p99", "p99_9"))
    lost = report["generator"]["held_share"] if report["schedule"] is None else 0
    if max(over) > 0.01 or late > 0.0101 or lost > 0.0501:
        assert report["disturbed"], report
    if max(over) < -0.01 and late < 0.0099 and lost < 0.0499:
        assert not report["disturbed"], report


def check_rates(report):
    """What is given a second is what is given, over the seconds."""
    seconds, echoes, options = report["seconds"], report["echoes"], report["options"]
    assert close(report["echoes_per_s"] * seconds, echoes, 0.01)
    assert report["bytes_per_s"] >= 0.99 * report["echoes_per_s"] * options["size_min"]
    assert report["bytes_per_s"] <= 1.01 * report["echoes_per_s"] * options["size_max"]
    if report["schedule"] is None:
        # Answers belong to the time when they came, latencies to the time when they were due.
        in_flight = options["connections"] * options["pipeline"]
        assert abs(report["latency_us"]["count"] - echoes) <= in_flight


def distribution(file):
    """The lines of a --hist file as (microseconds, count, share)."""
    lines = [line for line in file.read_text().splitlines() if not line.startswith("#")]
    return [(float(us), int(count), float(share))
            for us, count, share in (line.split() for line in lines)]


def close(figure, wanted, share):
    """Whether a figure is within a share of what is wanted, or within 1 of a small one."""
    return abs(figure - wanted) <= max(1, share * wanted)
