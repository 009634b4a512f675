"""What script/bench reports from the rows of a Sweep: table, plots, recommendation, files."""

import textwrap

from common import plot, rounds
from common.table import Column, digits, mebibytes, percent, render, whole, write_csv, write_json
from sizing import law, recommend

BY = ("load", "workers")
SWITCHES = ("server_voluntary_switches_per_echo", "server_involuntary_switches_per_echo")
ADVISED = "<- recommended"
# With the highest so far above the lowest, an axis from 0 would hide the low ones.
LOG_RATIO = 20
# The share of a schedule's messages that the generator itself may send over 1 ms late.
LATE = 0.01

COLUMNS = (
    Column("shown_load", "load", left=True),
    Column("workers", "workers"),
    Column("echoes_per_s", "echoes/s", whole),
    Column("echoes_spread", "+-", percent),
    Column("p50_us", "p50\nus", digits),
    Column("p99_us", "p99\nus", digits),
    Column("p99_spread", "+-", percent),
    Column("cpu_server_us_per_echo", "server CPU\nus/echo", digits),
    Column("cpu_server", "CPUs\nused", digits),
    Column("server_memory_bytes", "memory\nMiB", mebibytes),
    Column("switches", "switches\nper echo", digits),
    Column("queue_wait_us_p99", "in queue\np99 us", digits),
    Column("queue_wait_us_max", "in queue\nmax us", digits),
    Column("limited_by", "limited\nby", left=True),
    Column("note", "", left=True),
)


def _wrapped(text, indent=""):
    """Text in lines of at most 100 characters, each indented."""
    return textwrap.fill(text, 100, initial_indent=indent, subsequent_indent=indent) + "\n"


def medians(rows, order):
    """One row for each size under each load, in the order of these loads, then of sizes."""
    found = rounds.summarize(rows, BY)
    return sorted(found, key=lambda row: (order.index(row["load"]), row["workers"]))


def generator_limited(row):
    """Whether the generator, not the server, limited this row."""
    return rounds.generator_limited(row) or (row.get("schedule_late_share") or 0) > LATE


def _note(row, advised):
    words = []
    if row["failed"]:
        words.append(f"FAILED {row['failed']} of {row['runs']}")
    if (row.get("schedule_late_share") or 0) > LATE:
        words.append(f"generator late {100 * row['schedule_late_share']:.0f} %")
    elif row.get("schedule_kept") is False:
        words.append("schedule not kept")
    if rounds.generator_limited(row) and row["limited_by"] != "generator":
        words.append(f"generator in {row['generator_runs']} of {row['runs']}")
    if row.get("starved"):
        words.append(f"starved {row['starved']:.0f}")
    if row["workers"] == advised.get(row["load"]):
        words.append(ADVISED)
    return ", ".join(words)


def table_text(rows, advised):
    """The table of medians(); advised: {load: size that is marked}."""
    shown, before = [], None
    for row in rows:
        switches = [value for key in SWITCHES if (value := row.get(key)) is not None]
        shown.append({
            **row,
            "shown_load": row["load"] if row["load"] != before else "",
            "echoes_spread": rounds.spread_percent(row, "echoes_per_s"),
            "p99_spread": rounds.spread_percent(row, "p99_us"),
            "switches": sum(switches) if switches else None,
            "note": _note(row, advised)})
        before = row["load"]
    return render(COLUMNS, shown)


def _series(rows, key, factor):
    found = []
    for name in recommend.loads(rows):
        points = [(row["workers"], row[key] / factor, row[f"{key}_low"] / factor,
                   row[f"{key}_high"] / factor)
                  for row in rows
                  if row["load"] == name and row.get(key) is not None]
        found.append(plot.Series(name, points))
    return found


def _panel(rows, title, key, units):
    """A panel in the largest of units ((factor, label), ...) that fits its highest value."""
    values = [row[key] for row in rows if row.get(key)]
    factor, label = max((unit for unit in units if max(values) >= 2 * unit[0]),
                        default=units[0])
    log_y = max(values) > LOG_RATIO * min(values)
    return plot.Lines(title + (" (log scale)" if log_y else ""), "pool.workers", label,
                      _series(rows, key, factor), log_y)


def draw(rows, base, title):
    """Draws the plots of medians(); PlotFailed when gnuplot cannot, or there is nothing to draw."""
    good = [row for row in rows if recommend.usable(row)]
    if not good:
        raise plot.PlotFailed("there is no run without a failure to draw")
    panels = [
        _panel(good, "Throughput", "echoes_per_s",
               ((1, "echoes/s"), (1000, "thousand echoes/s"))),
        _panel(good, "Latency, 99th percentile", "p99_us", ((1, "µs"), (1000, "ms")))]
    if any(row.get("cpu_server_us_per_echo") for row in good):
        panels.append(_panel(good, "CPU time of the server for an echo", "cpu_server_us_per_echo",
                             ((1, "µs"),)))
    return plot.figure(base, title, panels)


def _overridden(settings, overrides):
    """The settings of the pool that -o has changed; the line for the file needs them, too."""
    paths = dict.fromkeys(override.split("=")[0].strip() for override in overrides)
    return [(path.removeprefix("pool."), settings[path]) for path in paths
            if path.startswith("pool.") and path != "pool.workers"]


class Verdict:
    """The recommendation for each load and for all, from the rows of all runs.

    cells: the runs of a whole round; with fewer there is no recommendation. settings: as
    server.settings() returns them; overrides: the operator's -o.
    """

    def __init__(self, runs, loads, *, cells, settings, overrides=()):
        self.runs = runs
        self.complete = len(runs) >= cells
        self.rows = medians(runs, [each.name for each in loads])
        self.loads = [each for each in loads if each.name in recommend.loads(self.rows)]
        self.worker_connections = int(settings["pool.worker_connections"])
        self.pool = _overridden(settings, overrides)
        counted = recommend.undisturbed(runs)
        self.rounds = len({run["round"] for run in runs})
        self.disturbed = self.rounds - len({run["round"] for run in counted})
        self.by_load = {each.name: recommend.for_load([run for run in counted
                                                       if run["load"] == each.name])
                        for each in self.loads}
        self.together = recommend.decide(counted)
        self.laws = {each.name: found for each in self.loads if (found := self._law(each))}
        self.votes = recommend.votes(runs, cells)

    def _of(self, name):
        return [row for row in self.rows if row["load"] == name]

    def _law(self, each):
        if self.worker_connections != 1 or not each.arrivals:
            return None
        return law.little(self._of(each.name), each.options["messages"])

    def marks(self):
        """{load: the size that the table marks}."""
        return {name: advice.workers for name, advice in self.by_load.items() if self.complete}

    def text(self):
        """Everything that follows the table."""
        if not self.complete:
            return "Not every size was measured: no recommendation.\n"
        parts = [_wrapped("Recommended is the smallest pool that is not worse than another, by 5 % "
                          "in throughput or by 10 % in p99.")]
        for name, advice in self.by_load.items():
            parts.append(f"{name}:\n" + self._advice_text(advice, self._law_text(name, advice)))
        if len(self.by_load) > 1:
            parts.append("all loads together:\n" + self._advice_text(self.together))
        if any(advice.workers for advice in self.by_load.values()):
            parts.append(_wrapped('Set it in the group "pool" of the file, and reload.'))
        return "\n".join(parts + self._warnings())

    def _advice_text(self, advice, by_law=""):
        """The reason, what the law says, and the line for the file."""
        text = _wrapped(advice.reason, "    ") + (_wrapped(by_law, "    ") if by_law else "")
        if advice.workers is None:
            return text
        return text + f"        {recommend.file_lines(advice.workers, self.pool)}\n"

    def _law_text(self, name, advice):
        found = self.laws.get(name)
        if found is None:
            return ""
        measured = ("no size can be recommended" if advice.workers is None
                    else f"{recommend.workers_text(advice.workers)} by the rule")
        text = (f"Little's law: {found.arrivals_per_s:,.0f} connections/s x "
                f"{digits(found.holding_us / 1000)} ms each = {digits(found.in_service)} in "
                f"service on average, so at least {recommend.workers_text(found.workers)}; "
                f"measured: {measured}")
        if advice.workers is not None and advice.workers > found.workers:
            text += " (the law is about the average; the rest is for moments when more come)"
        return text + "."

    def _warnings(self):
        """What one should know before believing the recommendation."""
        found = []
        limited = [row for row in self.rows if generator_limited(row)]
        if limited:
            found.append(f"Limited by: generator. In {len(limited)} of {len(self.rows)} rows "
                         "echoload, not the server, was at its limit or late, so a larger pool "
                         "could not show what it can do: use more --threads, less load, or a "
                         "machine that does nothing else.")
        failed = sum(row["failed"] for row in self.rows)
        if failed:
            found.append(f"{failed} of {len(self.runs)} runs failed: bytes were wrong or "
                         "connections failed. A size that failed twice, or always, is never "
                         "recommended.")
        found += [self._gain_text(name, advice.workers) for name, advice in self.by_load.items()
                  if advice.workers and recommend.still_gains(self._of(name), advice.workers)]
        if self.disturbed:
            found.append(f"{self.disturbed} of {rounds.count_text(self.rounds, 'round')} did not "
                         "count: other programs took the CPUs, or the generator was held up, far "
                         "more than in the others.")
        if not all(advice.sure for advice in (self.together, *self.by_load.values())):
            found.append("For a surer answer measure longer, as with --limit 600, on a machine "
                         "that does nothing else.")
        return [_wrapped(text) for text in found]

    @staticmethod
    def _gain_text(name, workers):
        """Says that a size beyond the measured ones may be the best."""
        larger = sorted({min(factor * workers, recommend.MOST_WORKERS) for factor in (1, 2, 4)})
        return (f"{name}: {recommend.workers_text(workers)} is the largest size measured, and its "
                "throughput is more than 5 % above that of the next smaller one, so a larger pool "
                "may do better: measure larger ones, as with --workers "
                f"{','.join(map(str, larger))}.")

    def as_object(self):
        """The recommendation for the JSON file."""
        if not self.complete:
            return None
        return {
            "loads": {name: {**advice._asdict(), "little": self._law_object(name)}
                      for name, advice in self.by_load.items()},
            "all": self.together._asdict(),
            "each_round_alone": self.votes}

    def _law_object(self, name):
        found = self.laws.get(name)
        return {**found._asdict(), "workers": found.workers} if found else None


def write_files(directory, verdict, about):
    """Writes runs.csv, medians.csv and tune.json; returns their paths. about: what was run."""
    paths = [directory / "tune-runs.csv", directory / "tune-medians.csv", directory / "tune.json"]
    write_csv(paths[0], verdict.runs)
    write_csv(paths[1], verdict.rows)
    write_json(paths[2], {**about, "runs": verdict.runs, "medians": verdict.rows,
                          "recommendation": verdict.as_object()})
    return paths
