"""What bench/compare.py reports of a Comparison: the text, the plots and the files."""

import shlex
import sys
from pathlib import Path

from common import machine, plot, rounds, table
from common.rounds import clock
from comparing import comparison, peers, targets

# (key of the medians, title, unit, what it is divided by, logarithmic)
PANELS = (("echoes_per_s_ratio", "Throughput beside the best of each load", "of best", 1, False),
          ("echoes_per_s", "Throughput", "thousand echoes/s", 1000, False),
          ("latency_us_p50", "Latency, median", "ms", 1000, True),
          ("latency_us_p99", "Latency, 99th percentile", "ms", 1000, True),
          ("latency_us_p99_9", "Latency, 99.9th percentile", "ms", 1000, True),
          ("cpu_server_us_per_echo", "CPU time of the server for an echo", "µs", 1, True),
          ("memory_bytes", "Memory", "MiB", 2**20, True))
TITLE = ("Echo servers by number of connections; 64K: 8 with 64 KiB, churn and idle: 50; "
         "clients on the same machine")


class Report:
    """The whole report, computed once from the rows."""

    def __init__(self, done):
        self.done = done
        self.medians = comparison.summarize(done.rows)
        self.targets = targets.judge(self.medians, done.pair_rows or done.rows)
        self.command = shlex.join(["bench/compare.py", *sys.argv[1:]])
        self.remarks = list(done.remarks)

    def text(self):
        parts = [self._head(), *(self._load(case) for case in self.done.cases if not case.share_of)]
        if self.targets:
            parts.append(f"What echopool is to reach, from {self._pairs()}:\n\n"
                         + targets.target_table(self.targets, self.done.peers))
        parts.append(self._sizes())
        return "\n".join(part for part in parts if part)

    def _pairs(self):
        """What the ratios of the targets are from."""
        count = len({row["round"] for row in self.done.pair_rows})
        if not count:
            return "the rounds of all servers"
        return f"{rounds.count_text(count, 'round')} with the best of those above alone"

    def _head(self):
        options = self.done.options
        count = "one round" if options.rounds == 1 else (
            f"medians of {options.rounds} rounds, each in another order (seed {options.seed})")
        threads = f"{options.threads} thread" + ("s" if options.threads > 1 else "")
        lines = ["echopool beside other echo servers", machine.text(self.done.machine).rstrip(),
                 f"command: {self.command}",
                 f"{count} of {options.duration:g} s, each after "
                 f"{options.warmup:g} s of warm-up; generator: echoload, {threads}, closed loop; "
                 f"took {clock(self.done.seconds)}",
                 *(f"note: {remark}" for remark in self.remarks), "", self._servers()]
        return "\n".join(lines)

    def _servers(self):
        """What the names in the tables mean."""
        return table.render(
            [table.Column("name", "server", left=True), table.Column("what", "what", left=True),
             table.Column("version", "version", left=True)],
            [{"name": peer.name, "what": peers.WHAT[peer.key], "version": peer.version}
             for peer in self.done.peers])

    def _load(self, case):
        return f"{case.title}\n\n" + comparison.load_table(case, self.done.peers, self.medians)

    def _sizes(self):
        """How echopool's pool sizes were found, and how to use them again."""
        sizes = {case.key: self.done.workers[case.key] for case in self.done.cases
                 if self.done.workers.get(case.key)}
        if not self.done.reasons:
            return None
        lines = [f"  {case.title}: {self.done.reasons[case.key]}" for case in self.done.cases
                 if case.key in self.done.reasons]
        again = ",".join(f"{key}={size}" for key, size in sizes.items())
        return "\n".join(["echopool's pool sizes, by the rule of script/bench:", *lines,
                          *([f"for the same again: --workers {again}"] if again else [])]) + "\n"

    def _draw(self, base):
        """Draws the plots; where it cannot, there is a remark instead."""
        try:
            return plot.figure(base, TITLE, self._panels())
        except plot.PlotFailed as failure:
            self.remarks.append(f"no plots: {failure}")
            return []

    def _panels(self):
        cases = [case for case in self.done.cases if not case.share_of]
        ran = [peer for peer in self.done.peers
               if any(row["peer"] == peer.key and row.get("echoes_per_s") for row in self.medians)]
        if not ran:
            raise plot.PlotFailed("there is nothing to draw")
        found = {(row["load"], row["peer"]): row for row in self.medians}
        panels = []
        for key, title, unit, factor, log_y in PANELS:
            series = [plot.Series(peer.name, [
                _scaled(found.get((case.key, peer.key), {}).get(key), factor) for case in cases])
                for peer in ran]
            panels.append(plot.Bars(title + (" (log scale)" if log_y else ""), unit,
                                    [case.name for case in cases], series, log_y))
        return panels

    def write(self, directory):
        """Draws, writes and prints everything."""
        directory = Path(directory)
        paths = [directory / name for name in ("compare.txt", "compare.json",
                                               "compare-medians.csv", "compare-runs.csv")]
        paths += self._draw(directory / "compare")
        text = self.text()
        try:
            paths[0].write_text(text, encoding="utf-8")
            table.write_json(paths[1], self._object())
            table.write_csv(paths[2], self.medians)
            table.write_csv(paths[3], self.done.rows + self.done.pair_rows)
        finally:
            # The text is printed even where the files cannot be written.
            print(text)
        print("written: " + " ".join(map(str, paths)))

    def _object(self):
        done = self.done
        return {"machine": done.machine, "command": self.command, "remarks": self.remarks,
                "options": vars(done.options), "settings": done.settings,
                "peers": [{"key": peer.key, "name": peer.name, "what": peers.WHAT[peer.key],
                           "version": peer.version, "missing": peer.missing}
                          for peer in done.peers],
                "loads": [{"key": case.key, "title": case.title, "options": case.options,
                           "workers": done.workers.get(case.key),
                           "reason": done.reasons.get(case.key)} for case in done.cases],
                "interrupted": done.interrupted, "targets": self.targets,
                "medians": self.medians, "runs": done.rows, "pairs": done.pair_rows}


def _scaled(value, factor):
    return None if value is None else value / factor
