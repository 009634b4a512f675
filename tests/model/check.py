#!/usr/bin/python3
"""Checks the model of the queue, queue.pml, with spin.

Each configuration is searched in full, for states that are wrong and for runs
that do not end; queue.pml says what that means. Models with a fault put in on
purpose must be rejected, by the property named beside them. One line for each;
exit status 1 if one is not as expected, or if spin or gcc is missing.

usage: check.py [-k WORD] [--keep DIRECTORY]
"""

import argparse
import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

MODEL = pathlib.Path(__file__).resolve().parent / "queue.pml"
SEARCH_SECONDS = 600
MEMORY_MB = 4000
DEPTH = 100_000

STATES = "states"  # an assertion is violated
CYCLES = "cycles"  # a run does not end
NONE = "none"
GCC = ["gcc", "-O2", "-w", "-DNP", f"-DMEMLIM={MEMORY_MB}"]

# Name, settings, what the operator does.
RIGHT = [
    ("two workers", "", ""),
    ("three workers", "WORKERS=3", ""),
    ("takes two at once", "CONNS=4 LIMIT=2 ROOM=2 TAKE=2", ""),
    ("one worker, much room", "WORKERS=1 ROOM=3 CONNS=4 BUSY=15", ""),
    ("two workers, much room", "ROOM=3 CONNS=4 BUSY=15", ""),
    ("spurious wake-ups", "SPURIOUS=2", ""),
    ("all are full", "CONNS=4 LIMIT=1 BUSY=3", ""),
    ("silent beside busy", "WORKERS=1 ROOM=2 SILENT=1 BUSY=2", ""),
    ("silent ones make room", "CONNS=4 SILENT=3 BUSY=4", ""),
    ("one silent, many wait", "CONNS=4 SILENT=1 BUSY=14", ""),
    ("three: silent ones", "WORKERS=3 CONNS=4 SILENT=3 BUSY=4", ""),
    ("3 -> 1", "WORKERS=3", "shrink()"),
    ("3 -> 1, busy", "WORKERS=3 CONNS=4 BUSY=7", "shrink()"),
    ("3 -> 1, silent", "WORKERS=3 SILENT=3 BUSY=4", "shrink()"),
    ("3 -> 2", "WORKERS=3 STAY=2", "shrink()"),
    ("2 -> 1, takes two", "CONNS=4 ROOM=2 TAKE=2 BUSY=1", "shrink()"),
    ("2 -> 1, spurious", "SPURIOUS=1", "shrink()"),
    ("1 -> 2", "START=1 CONNS=4 BUSY=1", "grow(1)"),
    ("1 -> 2 in vain", "START=1 CONNS=4 SILENT=1", "grow_in_vain()"),
    ("2 -> 1 -> 2", "CONNS=4 BUSY=2", "shrink(); grow(1)"),
    ("1 -> 2 -> 1", "START=1 BUSY=2", "grow(1); shrink()"),
    ("more room", "CONNS=4 BUSY=3", "queue_set_capacity(2, 2)"),
    ("less room", "CONNS=4 ROOM=2 SILENT=3", "queue_set_capacity(2, 1)"),
    ("three: much room", "WORKERS=3 ROOM=2 CONNS=4 BUSY=15", ""),
    ("three: takes two, 3 -> 1", "WORKERS=3 ROOM=2 CONNS=4 TAKE=2 BUSY=3",
     "shrink()"),
    ("three: less room", "WORKERS=3 ROOM=2 CONNS=4 SILENT=3",
     "queue_set_capacity(3, 1)"),
    ("1 -> 2, less room", "START=1 ROOM=2 CONNS=4 BUSY=3",
     "grow(1); queue_set_capacity(2, 1)"),
    ("2 -> 1, more room", "CONNS=4 BUSY=3",
     "queue_set_capacity(1, 2); shrink()"),
    ("stop after 1 -> 2", "STOPS_EARLY START=1 ROOM=2 CONNS=4 BUSY=3",
     "grow(1); queue_set_capacity(2, 1)"),
    ("gives", "ROOM=2 GIVES=1", ""),
    ("gives and takes", "ROOM=3 CONNS=4 BUSY=15 GIVES=2", ""),
    ("three: gives", "WORKERS=3 ROOM=2 BUSY=3 GIVES=1", ""),
    ("gives, all full", "ROOM=2 CONNS=4 LIMIT=1 SILENT=4 BUSY=3 GIVES=1", ""),
    ("gives, 2 -> 1", "ROOM=2 CONNS=4 BUSY=3 GIVES=1", "shrink()"),
    ("gives, 3 -> 2", "WORKERS=3 STAY=2 ROOM=2 BUSY=7 GIVES=1", "shrink()"),
    ("gives, 1 -> 2", "START=1 ROOM=3 BUSY=3 GIVES=1", "grow(1)"),
    ("gives, 1 -> 2 in vain", "START=1 ROOM=3 BUSY=3 GIVES=1",
     "grow_in_vain()"),
    ("stop, gives", "STOPS_EARLY ROOM=2 BUSY=3 GIVES=1", ""),
    ("longer queue", "CONNS=4 LIMIT=1 BUSY=3", "queue_set_limit(2)"),
    ("shorter queue", "CONNS=4 LIMIT=2 BUSY=1", "queue_set_limit(1)"),
    ("acceptor's change", "CONNS=4 LIMIT=1 BUSY=3", "acceptor_change()"),
    ("a reload", "CONNS=4 BUSY=1",
     "queue_set_capacity(STAY, 2); shrink(); acceptor_change();"
     " queue_set_limit(1)"),
    ("stop", "STOPS_EARLY", ""),
    ("stop, all full", "STOPS_EARLY CONNS=4 LIMIT=1 BUSY=3", ""),
    ("stop, silent", "STOPS_EARLY CONNS=4 LIMIT=1 SILENT=3", ""),
    ("stop, spurious", "STOPS_EARLY SPURIOUS=1", ""),
    ("stop after 3 -> 1", "STOPS_EARLY WORKERS=3 BUSY=1", "shrink()"),
    ("stop after a change", "STOPS_EARLY BUSY=3 LIMIT=1",
     "acceptor_change()"),
]

# The fault, settings, what the operator does, which search finds it.
WRONG = [
    ("NO_PASSING_ON", "CONNS=4 ROOM=2 BUSY=15", "", STATES),
    ("RUNG_CLEARED_LATE", "WORKERS=1 ROOM=3 BUSY=7", "", STATES),
    ("CHECKS_BEFORE_THE_LOCK", "", "", STATES),
    ("FULL_ARE_NOT_RUNG", "CONNS=4 SILENT=1 BUSY=14", "", STATES),
    ("RING_AGAIN_AND_AGAIN", "BUSY=7", "", CYCLES),
    ("EQUALS_WAIT_FOR_EACH_OTHER", "ROOM=2", "", CYCLES),
    ("WAKES_ONE_THAT_HOLDS_MUCH", "ROOM=3 CONNS=4 BUSY=15", "", CYCLES),
    ("EACH_BOUND_ALONE", "START=1 ROOM=2 CONNS=4 BUSY=15",
     "grow(1); queue_set_capacity(2, 1)", STATES),
    ("END_IS_NOT_SIGNALLED", "STOPS_EARLY START=1 ROOM=2 CONNS=4 BUSY=3",
     "grow(1); queue_set_capacity(2, 1)", STATES),
    ("SLEEPS_WITH_NEWS", "WORKERS=1 ROOM=2 BUSY=2", "", STATES),
    ("SLEEPS_WITH_A_CLAIM", "SILENT=1 BUSY=6", "", STATES),
    ("CLAIM_IS_KEPT", "CONNS=4 SILENT=3 BUSY=12", "", STATES),
    ("POP_SIGNALS_NOBODY", "CONNS=4 LIMIT=1", "", STATES),
    ("HAND_OVER_IN_SILENCE", "BUSY=7", "shrink()", STATES),
    ("STOP_LEAVES_WHAT_IS_HANDED", "STOPS_EARLY CONNS=4 ROOM=2 BUSY=15",
     "shrink()", STATES),
    ("GIVES_IN_SILENCE", "ROOM=3 BUSY=7 GIVES=1", "", STATES),
    ("GIVING_WAKES_ANY", "WORKERS=3 ROOM=2 CONNS=4 BUSY=9 GIVES=1", "", STATES),
    ("GIVES_TO_ONE_THAT_LEFT", "ROOM=3 BUSY=7 GIVES=1", "shrink()", STATES),
    ("GIVES_AT_THE_END", "STOPS_EARLY ROOM=3 BUSY=7 GIVES=1", "", STATES),
    ("CLEARED_SLOT_KEEPS_ITS_OWN", "START=1 ROOM=3 BUSY=7 GIVES=1",
     "grow_in_vain()", STATES),
    ("CLEARED_SLOT_SWALLOWS", "START=1 ROOM=2 BUSY=7", "grow_in_vain()",
     STATES),
    ("SIGNAL_FOR_ONE", "WORKERS=3 STAY=2", "shrink()", STATES),
    ("LIMIT_FALLS_ON_ROOM_ASKED_FOR", "CONNS=4 LIMIT=2", "queue_set_limit(1)",
     STATES),
    ("CLOSES_BEFORE_THEY_LEFT", "STOPS_EARLY BUSY=7", "shrink()", STATES),
    ("STOP_RINGS_NO_BELL", "STOPS_EARLY BUSY=7", "", STATES),
    ("INTERRUPT_IS_NOT_KEPT", "STOPS_EARLY CONNS=4 LIMIT=1 BUSY=15", "",
     STATES),
    ("WAITS_AT_THE_NEXT_LISTENER", "STOPS_EARLY WORKERS=1 CONNS=4 LIMIT=1"
     " BUSY=15", "", STATES),
    ("WAITS_AT_THE_NEXT_LISTENER", "WORKERS=1 CONNS=4 LIMIT=1 BUSY=15",
     "acceptor_change()", STATES),
]


class Failed(Exception):
    """A tool did not do its work; the text says which and why."""


def run(command, directory, seconds=SEARCH_SECONDS):
    """Runs a command and returns what it prints."""
    try:
        done = subprocess.run(
            command, cwd=directory, timeout=seconds, text=True, check=False,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    except subprocess.TimeoutExpired:
        raise Failed(f"{command[0]}: not done in {seconds} s") from None
    except FileNotFoundError:
        raise Failed(f"{command[0]}: not found") from None
    if done.returncode != 0:
        raise Failed(f"{' '.join(command)}: status {done.returncode}: "
                     f"{done.stdout.strip()[-300:]}")
    return done.stdout


def write_model(directory, settings, changes):
    """Writes a model with the settings in front of the common part."""
    lines = [f"#define {word.replace('=', ' ')}" for word in settings.split()]
    if changes:
        lines.append(f"#define CHANGES {changes}")
    lines.append(f'#include "{MODEL}"')
    (directory / "model.pml").write_text("\n".join(lines) + "\n")


def search(directory):
    """Searches the model; returns the kind of fault, what it is, states."""
    run(["spin", "-a", "model.pml"], directory)
    run([*GCC, "-o", "pan", "pan.c"], directory)
    out = run(["./pan", "-l", f"-m{DEPTH}"], directory)
    states = re.search(r"^\s*(\d+) states, stored", out, re.MULTILINE)
    errors = re.search(r"errors: (\d+)", out)
    if not states or not errors:
        raise Failed(f"pan: {out.strip()[-300:]}")
    if errors[1] != "0":
        text = re.search(r"^pan:\d+: (.*?)(?: \(at depth|$)", out,
                         re.MULTILINE)[1]
        kind = CYCLES if "non-progress cycle" in text else STATES
        return kind, text, int(states[1])
    for sign in ("Search not completed", "max search depth too small",
                 "out of memory"):
        if sign in out:
            raise Failed(f"pan: {sign}")
    return NONE, "", int(states[1])


def failing_line(directory, text):
    """Shows a violated assertion as the model writes it, without macros."""
    if not text.startswith("assertion violated"):
        return text
    out = run(["spin", "-t", "-k", "model.pml.trail", "model.pml"], directory)
    line = re.search(r"queue\.pml:(\d+), Error: assertion violated", out)
    if not line:
        return text
    source = MODEL.read_text().splitlines()[int(line[1]) - 1].strip()
    return f"queue.pml:{line[1]}: {source}"


def check(job):
    """Checks one configuration; returns its line and whether it passed."""
    name, settings, changes, expected, keep = job
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="model-") as temporary:
        directory = pathlib.Path(temporary)
        if keep:
            directory = keep / re.sub(r"\W+", "-", name)
            directory.mkdir(parents=True, exist_ok=True)
        write_model(directory, settings, changes)
        try:
            found, text, states = search(directory)
            text = failing_line(directory, text)
        except Failed as failure:
            found, text, states = "failed", str(failure), 0
    passed = found == expected
    return (name, f"{states:,}", f"{time.monotonic() - began:.1f}", expected,
            found, "ok" if passed else "NOT OK", text), passed


def jobs(keep):
    """All configurations: name, settings, changes, expected, keep."""
    for name, settings, changes in RIGHT:
        yield name, settings, changes, NONE, keep
    for number, (bug, settings, changes, expected) in enumerate(WRONG, 1):
        name = f"bug {number}: {bug.lower().replace('_', ' ')}"
        yield name, f"BUG_{bug} {settings}", changes, expected, keep


def print_row(row):
    """Prints a row of the table."""
    print("{:35} {:>9} {:>7}  {:8} {:6} {:6} {}".format(*row).rstrip(),
          flush=True)


def main():
    """Runs all searches; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-k", default="", metavar="WORD",
                        help="only configurations whose name contains WORD")
    parser.add_argument("--keep", type=pathlib.Path, metavar="DIRECTORY",
                        help="leave models and trails there")
    options = parser.parse_args()
    keep = options.keep.resolve() if options.keep else None
    chosen = [job for job in jobs(keep) if options.k in job[0]]
    results = []
    print_row(("configuration", "states", "seconds", "expected", "found",
               "result", "by"))
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for row, passed in pool.map(check, chosen):
            print_row(row)
            results.append(passed)
    failed = results.count(False)
    print(f"{len(results) - failed} passed, {failed} failed")
    return 1 if failed or not results else 0


if __name__ == "__main__":
    sys.exit(main())
