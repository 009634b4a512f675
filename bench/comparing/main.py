"""Measures echopool beside the servers that one would run instead; --help explains it.

trial.py makes the runs of the servers of peers.py under the loads of loads.py; comparison.py says
what they mean, report.py prints and writes it.
"""

import random
import sys
import time
from pathlib import Path

from common import command, machine, rounds, server
from comparing import command_line, comparison, peers, targets, trial
from comparing.loads import LOADS, RATE_SHARE
from comparing.report import Report
from sizing import sweep

# What server and generator have open beside the clients.
OTHER_DESCRIPTORS = 200
# echopool reserves a quarter of its descriptors for its queue.
DESCRIPTORS_PER_CLIENT = 1.5
SWEEP_ROUNDS = 9
SWEEP_S = 0.6


def descriptors(case):
    """How many descriptors a server or the generator needs for a load."""
    return int(case.clients * DESCRIPTORS_PER_CLIENT) + OTHER_DESCRIPTORS


def chosen_loads(options, remarks):
    """The chosen loads; adds a remark about each for which there are no descriptors."""
    cases = [case for case in LOADS if options.loads is None or case.key in options.loads]
    limit = machine.raise_descriptors(max(map(descriptors, cases)))
    remarks += [f"not run: {case.title}: it needs {descriptors(case):,} descriptors and the limit "
                f"is {limit:,}; raise it with ulimit -n"
                for case in cases if descriptors(case) > limit]
    return [case for case in cases if descriptors(case) <= limit]


class Comparison:
    """One call of this program: its options, and what has been measured so far."""

    def __init__(self, options):
        self.options = options
        self.settings = server.settings(options.program, options.config, options.overrides)
        self.machine = machine.describe()
        self.remarks = [remark for remark in [machine.busy(self.machine)] if remark]
        self.peers = peers.find(options.build, options.peers)
        self.cases = chosen_loads(options, self.remarks)
        self.workers = dict(options.workers)
        self.reasons = {}
        self.rows = []  # of the rounds of all servers
        self.pair_rows = []
        self.seconds = 0
        self.interrupted = False
        self.bench = trial.Bench(
            options.program, options.echoload, options.config, self._overrides(),
            {"duration": options.duration, "warmup": options.warmup, "threads": options.threads})

    def _overrides(self):
        """The operator's settings of echopool, with room for all clients, as the peers have."""
        clients = max((case.clients for case in self.cases), default=0)
        overrides = list(self.options.overrides)
        for setting, least in (("pool.worker_connections", clients),
                               ("listen.backlog", peers.BACKLOG)):
            if int(self.settings[setting]) < least:
                self.remarks.append(f"echopool's {setting} is {least}, which gives it room for all "
                                    f"clients as the others have, instead of "
                                    f"{self.settings[setting]}")
                overrides.append(f"{setting}={least}")
        return overrides

    def run(self):
        """Makes the sweep, then all rounds; Ctrl-C ends them, and what was measured is reported."""
        begin = time.monotonic()
        try:
            self._choose_sizes()
            self._measure()
            self._measure_pairs()
        except KeyboardInterrupt:
            self.interrupted = True
            self.remarks.append("interrupted: not all of the rounds were run")
        self.seconds = time.monotonic() - begin

    def _choose_sizes(self):
        """Finds the pool size for each load without a given one."""
        cases = [case for case in self.cases
                 if not case.share_of and case.key not in self.workers]
        if not cases:
            return
        sizes = sweep.default_workers()
        print(f"pool sizes {', '.join(map(str, sizes))} under "
              f"{rounds.count_text(len(cases), 'load')}, {SWEEP_ROUNDS} rounds", file=sys.stderr)
        short = self.bench._replace(timing={
            **self.bench.timing, "duration": min(SWEEP_S, self.options.duration)})
        in_round = len(cases) * len(sizes)
        with rounds.Progress(in_round * SWEEP_ROUNDS, in_round) as progress:
            found = trial.choose_workers(short, cases, sizes, SWEEP_ROUNDS, progress)
        for key, (size, reason) in found.items():
            self.workers[key], self.reasons[key] = size, reason

    def _measure(self):
        cells = [(case, peer) for case in self.cases for peer in self.peers
                 if not case.share_of and not peer.refuses(case)]
        loads = rounds.count_text(len({case.key for case, _ in cells}), "load")
        print(f"{len(self.peers)} servers under {loads}: "
              f"{len(cells) * self.options.rounds} runs", file=sys.stderr)
        with rounds.Progress(len(cells) * self.options.rounds, len(cells)) as progress:
            for number in range(1, self.options.rounds + 1):
                self._round(number, cells, progress, self.rows)

    def _round(self, number, cells, progress, rows):
        """A run of each cell, in an order of chance: none always comes after the same."""
        seed = self.options.seed + number
        for case, peer in random.Random(seed).sample(cells, len(cells)):
            progress.begin(f"round {number}, {case.name}, {peer.name}")
            workers = self.workers.get(case.share_of or case.key) if peer.key == peers.OWN else None
            row = trial.run(self.bench, peer, case, workers, seed)
            rows.append({"load": case.key, "peer": peer.key, "round": number, **row})
            if not row["ok"]:
                progress.say(f"failed: {peer.name}, {case.title}: {trial.what_failed(row)}")
            progress.end()

    def _measure_pairs(self):
        """Only echopool and the best of the others, until their ratios are known, or time is over.
        """
        medians = comparison.summarize(self.rows)
        left = [pair for pair in targets.chosen(medians)
                if {load for load, _ in pair[1:]} <= {case.key for case in self.cases}]
        begin = time.monotonic()
        with rounds.Progress(0, 0, limit_s=self.options.limit) as progress:
            number = each_s = 0
            while left and progress.has_time(each_s):
                cells = {cell for pair in left for cell in pair[1:]}
                number += 1
                self._round(self.options.rounds + number,
                            [self._cell(cell, left, medians) for cell in sorted(cells)],
                            progress, self.pair_rows)
                each_s = (time.monotonic() - begin) / number
                left = [pair for pair in left if not targets.is_known(self.pair_rows, pair)]
                progress.end_round(number, f"{rounds.count_text(len(left), 'ratio')} not known")

    def _cell(self, cell, left, medians):
        """The (Load, Peer) of two keys; a load at a rate gets that of the slower of its pair."""
        case = next(case for case in self.cases if case.key == cell[0])
        if case.share_of:
            pair = next(pair for pair in left if pair[0].load == case.key)
            slower = min(comparison.find_summary(medians, case.share_of, peer)["echoes_per_s"]
                         for _, peer in pair[1:])
            case = case._replace(options={**case.options, "rate": int(RATE_SHARE * slower)})
        return case, next(peer for peer in self.peers if peer.key == cell[1])

    def status(self):
        """The exit status."""
        if self.interrupted:
            return command.INTERRUPTED
        own = [row for row in self.rows + self.pair_rows if row["peer"] == peers.OWN]
        return 0 if own and all(row["ok"] for row in own) else 1


def fail(text, status):
    """One sentence on standard error, and the exit status."""
    print(f"bench/compare.py: {text}", file=sys.stderr)
    return status


def report(done):
    """Prints and writes everything that was measured; returns the exit status."""
    if not done.rows:
        return fail("; ".join(["nothing was measured", *done.remarks]), done.status())
    Report(done).write(done.options.output)
    return done.status()


def main():
    options = command_line.parse(sys.argv[1:])
    missing = command.missing_program((options.program, options.echoload))
    if missing:
        return fail(missing, 1)
    Path(options.output).mkdir(parents=True, exist_ok=True)
    done = Comparison(options)
    done.run()
    return report(done)
