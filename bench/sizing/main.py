"""Finds the right pool size for echopool: measures it under load with one size after the other.

sweep.py makes the runs, recommend.py has the rule, report.py prints and writes it all.
"""

import shlex
import sys
from pathlib import Path

from common import command, load, machine, plot, rounds, server
from sizing import command_line, report, sweep


def fail(text, status):
    """One sentence on standard error, and the exit status."""
    print(f"script/bench: {text}", file=sys.stderr)
    return status


class Tuning:
    """One call of this program, after its options were read."""

    def __init__(self, options):
        self.options = options
        # A program without "/" in its path is searched in PATH.
        build = Path(options.build).resolve()
        self.program, self.echoload = build / "echopool", build / "bench" / "echoload"
        self.directory = Path(options.output)
        self.sizes = []
        self.interrupted = False
        self.failure = None

    def prepare(self):
        """Reads the operator's file and chooses the loads; ServerFailed when the file is wrong."""
        options = self.options
        self.settings = server.settings(self.program, options.config, options.overrides)
        self.machine = machine.describe()
        self.worker_connections = int(self.settings["pool.worker_connections"])
        self.loads = command_line.loads(options, self.worker_connections)
        threads = options.threads or machine.default_threads()
        self.directory.mkdir(parents=True, exist_ok=True)
        self.sweep = sweep.Sweep(
            self.program, self.echoload, options.config, options.overrides, live=options.live,
            timing={"duration": options.duration, "warmup": options.warmup, "threads": threads},
            seed=options.seed)

    def choose_sizes(self):
        if self.options.workers:
            return sorted(self.options.workers)
        arriving = [each for each in self.loads if each.arrivals]
        if self.worker_connections == 1 and arriving:
            return self.sweep.calibrated_sizes(arriving)
        return sweep.default_workers()

    def measure(self):
        """Makes all runs. Ctrl-C and a server that cannot run end them; the rows so far stay."""
        options = self.options
        try:
            self.sizes = self.choose_sizes()
            in_round = len(self.sizes) * len(self.loads)
            runs = in_round * (options.rounds or 0)
            print(self._plan(in_round), file=sys.stderr)
            with rounds.Progress(runs, in_round,
                                 limit_s=None if runs else options.limit) as progress:
                self._warn(progress)
                self.sweep.run(self.loads, self.sizes, progress, options.rounds, not runs)
        except KeyboardInterrupt:
            self.interrupted = True
        except (server.ServerFailed, load.LoadFailed, OSError) as failure:
            self.failure = str(failure)

    def _plan(self, in_round):
        """What will be measured, and how long that takes."""
        options = self.options
        product = " x ".join(rounds.count_text(*factor) for factor in (
            (len(self.sizes), "pool size"), (len(self.loads), "load")))
        if not options.rounds:
            return (f"{product} in rounds, until the choice is sure, at most "
                    f"{rounds.clock(options.limit)} min")
        runs = in_round * options.rounds
        each_s = options.duration + options.warmup + 0.2
        return (f"{product} x {rounds.count_text(options.rounds, 'round')} = "
                f"{rounds.count_text(runs, 'run')}, about {rounds.clock(runs * each_s)} min")

    def rounds(self):
        """How many rounds there were."""
        return len({row["round"] for row in self.sweep.rows})

    def _warn(self, progress):
        """Says what one should know before the runs, not after."""
        busy = machine.busy(self.machine)
        if busy:
            progress.say(busy)
        for each in self.loads:
            short = [size for size in self.sizes if size * self.worker_connections < each.at_once]
            if short:
                progress.say(f"{each.name}: too many connections ({each.at_once:,}) for "
                             f"pool.workers = {', '.join(map(str, short))} with "
                             f"pool.worker_connections = {self.worker_connections}: some get no "
                             "answer, and such runs fail; raise worker_connections"
                             + self._other_load(each))

    def _other_load(self, each):
        """The hint for a pool with a thread for each client."""
        one = self.worker_connections == 1 and not each.arrivals
        return ", or give --arrivals, the load for it" if one else ""

    def heading(self):
        words = [self.options.config]
        for override in self.options.overrides:
            words += ["-o", shlex.quote(override)]
        count = rounds.count_text(self.rounds(), "round")
        return (f"{machine.text(self.machine)}echopool -c {' '.join(words)}; medians of {count} "
                f"of {self.options.duration:g} s\n")

    def about(self):
        options = self.options
        return {"machine": self.machine,
                "command": ["script/bench", *sys.argv[1:]], "config": options.config,
                "overrides": options.overrides, "settings": self.settings,
                "sizes": self.sizes, "rounds": self.rounds(), "live": options.live,
                "timing": self.sweep.timing, "seed": options.seed, "interrupted": self.interrupted,
                "loads": [{"name": each.name, "options": each.options} for each in self.loads]}

    def write_report(self):
        """Prints and writes everything that was measured; returns the exit status."""
        if self.sweep.rows:
            self._report_rows()
        if self.interrupted:
            return fail(f"interrupted after {len(self.sweep.rows)} runs",
                        command.INTERRUPTED)
        if self.failure:
            return fail(self.failure, 1)
        return 0 if all(row["ok"] for row in self.sweep.rows) else 1

    def _report_rows(self):
        verdict = report.Verdict(
            self.sweep.rows, self.loads, cells=len(self.sizes) * len(self.loads),
            settings=self.settings, overrides=self.options.overrides)
        try:
            paths = report.write_files(self.directory, verdict, self.about())
            paths += self._draw(verdict)
        finally:
            # The text is printed even where the files cannot be written.
            print(self.heading())
            print(report.table_text(verdict.rows, verdict.marks()))
            print(verdict.text())
        print("written: " + " ".join(map(str, paths)))

    def _draw(self, verdict):
        title = (f"Pool size on {machine.cpus()} CPUs, clients on the same machine; medians, "
                 f"lowest and highest of {self.rounds()}")
        try:
            return report.draw(verdict.rows, self.directory / "tune", title)
        except plot.PlotFailed as failure:
            fail(f"no plots: {failure}", 0)
            return []


def main():
    tuning = Tuning(command_line.read())
    missing = command.missing_program((tuning.program, tuning.echoload))
    if missing:
        return fail(missing, 1)
    tuning.prepare()
    tuning.measure()
    return tuning.write_report()
