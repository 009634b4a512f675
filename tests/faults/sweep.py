#!/usr/bin/python3
"""Makes each call of the server fail in each way that can be, at the first time, the second, ...

For each kind of call and each of its errors, until the fault no longer fires,
the server is started, talked to by clients that check every byte, and stopped
(scenario.py); judge.py says whether that was right, table.py what is right.

    tests/faults/sweep.py                              all kinds and errors, as CI runs it
    tests/faults/sweep.py --full                       all errors in all scenarios, no bound on N
    tests/faults/sweep.py --only recv:ECONNRESET:7     one run, with all that was seen
    tests/faults/sweep.py --calls 'recv|send'          only some kinds

The program is $ECHOPOOL, or build/echopool. ECHOPOOL_TIME_FACTOR makes the time
bounds longer. The last line is the sum; the status is 0 if nothing failed.
"""

import argparse
import collections
import concurrent.futures
import dataclasses
import os
import re
import subprocess
import sys
import time

import judge
import scenario
import table
from fault import LOG_CALLS, Fault
from program import PROGRAM, TIME_FACTOR, Injector

# The greatest N of a sequence in the short sweep; longer ones are told.
MOST_N = 150
# Of a call that does not return, as they are all made alike.
MOST_HANGS = 10
# A sequence that fails so often, or hangs so often, is not gone on with.
MOST_FAILURES = 20
MOST_STUCK = 3
# Of the log of a failed run.
LOG_LINES = 8


@dataclasses.dataclass(frozen=True)
class Sequence:
    """One fault with N = first, first + step, ... until it no longer fires."""

    fault: Fault
    first: int
    most: int

    @property
    def name(self):
        return str(self.fault).replace(f":{self.fault.nth}", ":N", 1)

    def faults(self):
        for nth in range(self.first, self.most + 1, self.fault.burst):
            yield dataclasses.replace(self.fault, nth=nth)


@dataclasses.dataclass
class Outcome:
    """What came of a sequence."""

    sequence: Sequence
    runs: int = 0
    fired: int = 0
    last_n: int = 0
    cut: bool = False
    verdicts: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    failures: list = dataclasses.field(default_factory=list)
    seconds: float = 0.0


def run_sequence(injector, sequence, calm):
    """Runs a sequence to its end."""
    outcome = Outcome(sequence)
    begin = time.monotonic()
    outcome.cut = True
    stuck = 0
    for fault in sequence.faults():
        result = scenario.run(injector, fault)
        found = judge.problems(result, calm)
        outcome.runs += 1
        outcome.verdicts[judge.verdict(result, found)] += 1
        outcome.fired += result.fired > 0
        outcome.last_n = fault.nth if result.fired else outcome.last_n
        if found:
            found.append(f"first failing call made by {where(result)}; the log's end:")
            found += ["  " + line for line in result.log.splitlines()[-LOG_LINES:]]
            outcome.failures.append((str(fault), found))
        if not result.fired:
            outcome.cut = False
            break
        stuck += bool(result.stuck)
        if len(outcome.failures) >= MOST_FAILURES or stuck >= MOST_STUCK:
            break
    outcome.seconds = time.monotonic() - begin
    return outcome


# --- what there is to do


def imported_symbols():
    """The functions that the program takes from libraries."""
    listing = subprocess.run(["nm", "-D", "--undefined-only", PROGRAM], check=True,
                             capture_output=True, text=True).stdout
    return {line.split()[-1].split("@")[0] for line in listing.splitlines()}


def is_sanitized(symbols):
    return any(re.match(r"__(asan|tsan|ubsan|msan)_", symbol) for symbol in symbols) or \
        b"__sanitizer" in subprocess.run(["nm", PROGRAM], check=False,
                                         capture_output=True).stdout


def check_symbols(symbols):
    """The functions that the program calls and that the table does not know.

    A build that measures coverage calls what gcov needs besides.
    """
    if b"__gcov_" in subprocess.run(["nm", PROGRAM], check=False, capture_output=True).stdout:
        return []
    known = {symbol for kind in table.SYMBOLS.values() for symbol in kind}
    # _FORTIFY_SOURCE has another of each, which ends the program where memory would be overrun.
    checked = {f"__{symbol}_chk" for symbol in table.EXCEPTIONS}
    return sorted(symbols - known - checked - set(table.EXCEPTIONS))


def check_kinds(kinds):
    """The library's kinds and the table's must be the same."""
    swept = {row.call for row in table.ROWS} | set(table.CHILD_ERRORS)
    for kind in sorted(set(kinds) ^ (swept | set(table.UNFAILING))):
        yield f"{kind} is only in one of inject.h and table.py"
    for kind in sorted(swept - set(table.SYMBOLS)):
        yield f"{kind} has no symbols in table.py"


def calibrate(injector, scenarios):
    """A run of each scenario without a fault, and what is wrong with it."""
    calm, found = {}, []
    for name in scenarios:
        result = scenario.run(injector, Fault("accept4", "EINTR", 0, scenario=name))
        calm[name] = result
        found += [f"{name}: {problem}" for problem in judge.problems(result)]
    return calm, found


def sequences(calm, full):
    """All sequences of the rows of the table, for the scenarios that there are."""
    most = sys.maxsize if full else MOST_N
    for row in table.ROWS:
        for name in scenario.SCENARIOS if full else row.scenarios:
            if name not in calm:
                continue
            # The log tells when a reload is over, so it must not be what fails there.
            if name == "reload" and row.call in LOG_CALLS:
                continue
            # What happens before readiness is the same in the scenario "echo".
            first = calm[name].calls_at_ready.get(row.call, 0) + 1 if name == "reload" else 1
            for error in row.errors if full or name != "reload" else row.errors[:1]:
                last = first + MOST_HANGS - 1 if error == table.HANG and not full else most
                for burst in row.bursts if full or name != "reload" else (1,):
                    fault = Fault(row.call, error, first, burst, name)
                    yield Sequence(fault, first, last)
    for call in table.SIGTERM_CALLS:
        yield Sequence(Fault(call, table.SIGTERM, 1), 1, most)
    for call in table.SIGTERM_TWICE_CALLS:
        yield Sequence(Fault(call, table.SIGTERM, 1, 2), 1, most)
    if "reload" not in calm:
        return
    for call in table.SIGTERM_RELOAD_CALLS:
        first = calm["reload"].calls_at_ready.get(call, 0) + 1
        yield Sequence(Fault(call, table.SIGTERM, first, 1, "reload"), first, most)
    for call, errors in table.CHILD_ERRORS.items():
        for error in errors.split():
            yield Sequence(Fault(call, error, 1, 1, "reload", "child"), 1, most)


# --- telling


def where(result):
    """The place in the program of the call that failed first."""
    if not result.where:
        return "nowhere"
    said = subprocess.run(["addr2line", "-f", "-i", "-s", "-e", PROGRAM, hex(result.where - 1)],
                          check=False, capture_output=True, text=True).stdout.split("\n")
    pairs = [f"{name} ({line})" for name, line in zip(said[::2], said[1::2]) if "?" not in line]
    return " in ".join(pairs) or "a library"


def show_run(injector, fault):
    """One run with all that was seen. Returns what is wrong."""
    calm, _ = calibrate(injector, [fault.scenario])
    result = scenario.run(injector, fault)
    found = judge.problems(result, calm[fault.scenario])
    print(f"{fault}: {judge.verdict(result, found)}, exit {result.status}")
    print(f"fired {result.fired} times, {result.fired_at_ready} of them at start, "
          f"first called by {where(result)}")
    print("clients:", ", ".join(f"{count} {name}" for name, count in result.outcomes.items()))
    print("\n".join("  " + detail for detail in result.details))
    print("calls:", " ".join(f"{name}={count}" for name, count in result.calls.items()))
    print("log:\n" + "".join(f"  {line}\n" for line in result.log.splitlines()))
    for problem in found:
        print("WRONG:", problem)
    return found


def print_table(outcomes):
    """Calls by errors, what came of them."""
    heads = ("call:error", "runs", "fired", "last N", *judge.VERDICTS)
    rows = []
    for outcome in outcomes:
        counts = [outcome.verdicts[name] for name in judge.VERDICTS]
        rows.append((outcome.sequence.name, outcome.runs, outcome.fired,
                     f"{outcome.last_n}{'+' if outcome.cut else ''}", *counts))
    sums = [sum(row[i] for row in rows) for i in (1, 2)]
    rows.append(("all", *sums, "", *(sum(row[i] for row in rows) for i in range(4, len(heads)))))
    widths = [max(len(str(row[i])) for row in [heads, *rows]) for i in range(len(heads))]
    for row in [heads, *rows]:
        cells = [str(cell or ".") if i > 3 else str(cell) for i, cell in enumerate(row)]
        print("  ".join(cell.ljust(width) if i == 0 else cell.rjust(width)
                        for i, (cell, width) in enumerate(zip(cells, widths))).rstrip())


def print_failures(outcomes):
    """Each failed run, with the command that repeats it."""
    for outcome in outcomes:
        for fault, found in outcome.failures:
            print(f"\nFAILED {fault}\n  repeat: {sys.argv[0]} --only '{fault}'")
            for problem in found:
                print("  " + problem.replace("\n", "\n  "))


def sweep(injector, todo, calm, jobs):
    """Runs the sequences, two or so at a time, and tells each that ends."""
    outcomes = []
    begin = time.monotonic()
    with concurrent.futures.ProcessPoolExecutor(jobs) as pool:
        running = [pool.submit(run_sequence, injector, sequence, calm[sequence.fault.scenario])
                   for sequence in todo]
        for done in concurrent.futures.as_completed(running):
            outcome = done.result()
            outcomes.append(outcome)
            print(f"[{len(outcomes)}/{len(todo)} {time.monotonic() - begin:4.0f} s] "
                  f"{outcome.sequence.name}: {outcome.runs} runs, "
                  f"{outcome.verdicts[judge.FAILED]} failed", flush=True)
    place = {sequence: i for i, sequence in enumerate(todo)}
    return sorted(outcomes, key=lambda outcome: place[outcome.sequence])


def unfired_calls(outcomes):
    """Kinds of the table that no scenario has reached: what they say is not proved."""
    fired = collections.Counter()
    for outcome in outcomes:
        fired[outcome.sequence.fault.call] += outcome.fired
    return sorted(call for call, count in fired.items() if not count)


# --- the command


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", metavar="FAULT", type=Fault.parse,
                        help="one run: [SCENARIO/]CALL:ERROR[*BURST]:N[@child]")
    parser.add_argument("--repeat", metavar="TIMES", type=int, default=1,
                        help="with --only, until it fails")
    parser.add_argument("--calls", metavar="PATTERN", default="",
                        help="only sequences whose name contains this regular expression")
    parser.add_argument("--full", action="store_true",
                        help="all errors in all scenarios, without a bound on N")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--least-runs", type=int, default=0,
                        help="fail if there were fewer runs than this")
    return parser.parse_args()


def run_one(injector, options):
    """--only: returns the exit status."""
    for _ in range(options.repeat):
        if show_run(injector, options.only):
            return 1
    return 0


def run_all(injector, options):
    """The sweep: returns the exit status."""
    symbols = imported_symbols()
    wrong = list(check_kinds(injector.kinds))
    sanitized = is_sanitized(symbols)
    if sanitized:
        print("a sanitizer's build: not looked at which functions the program imports, and "
              "memory does not fail")
    else:
        wrong += [f"{symbol} is called and neither in table.py's SYMBOLS nor in its EXCEPTIONS"
                  for symbol in check_symbols(symbols)]
    names = [name for name in scenario.SCENARIOS if scenario.is_possible(name, symbols)]
    for name in set(scenario.SCENARIOS) - set(names):
        print(f"not in this program: the scenario {name}")
    calm, found = calibrate(injector, names)
    wrong += found
    todo = [sequence for sequence in sequences(calm, options.full)
            if re.search(options.calls, sequence.name) and
            # A sanitizer starts a thread of its own, and says nothing when it cannot.
            not (sanitized and sequence.name.startswith("pthread_create"))]
    begin = time.monotonic()
    outcomes = sweep(injector, todo, calm, options.jobs) if not found else []
    if not options.calls and not sanitized:
        wrong += [f"{call} is in the table, but was never made to fail"
                  for call in unfired_calls(outcomes)]
    runs = sum(outcome.runs for outcome in outcomes)
    failed = sum(len(outcome.failures) for outcome in outcomes)
    if runs < options.least_runs:
        wrong.append(f"only {runs} runs")
    print()
    print_table(outcomes)
    print_failures(outcomes)
    print("".join(f"\nWRONG: {problem}" for problem in wrong))
    print(f"{runs} runs in {time.monotonic() - begin:.0f} s, time factor {TIME_FACTOR:g}")
    print(f"{runs - failed} passed, {failed + len(wrong)} failed")
    return 1 if failed or wrong else 0


def main():
    options = parse_arguments()
    injector = Injector()
    try:
        return run_one(injector, options) if options.only else run_all(injector, options)
    finally:
        injector.close()


if __name__ == "__main__":
    sys.exit(main())
