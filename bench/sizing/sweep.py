"""The runs that find a size: loads, pool sizes, and one row of figures for each run.

Nothing here prints, except through the given Progress.
"""

import random
import re
import time
from contextlib import ExitStack
from typing import NamedTuple

from common import load, machine, server
from sizing import law, recommend, standing

DEFAULT_LOADS = ("50x64", "1000x64", "8x64k")
DEFAULT_ARRIVALS = (200, 1000)
DEFAULT_MESSAGES = 20
MOST_AT_ONCE = 1000
CALIBRATION_WORKERS = 64
SIZE = re.compile(r"(\d{1,8})([kM]?)(?:-(\d{1,8})([kM]?))?", re.ASCII)
MOST_BYTES = 16 * 2**20


class Load(NamedTuple):
    """One load: its name in tables, and echoload's options for it (see load.run())."""

    name: str
    options: dict

    @property
    def arrivals(self):
        """True when new connections come on a schedule."""
        return bool(self.options.get("arrivals"))

    @property
    def at_once(self):
        """How many connections the server must hold at once; one, of those that arrive."""
        return (1 if self.arrivals else self.options["connections"]) + (
            self.options.get("idle") or 0)

    @property
    def events_per_s(self):
        """The messages or connections a second of a schedule; 0 in the closed loop."""
        return self.options.get("arrivals") or self.options.get("rate") or 0

    @property
    def asked_per_s(self):
        """The messages a second of a schedule; 0 in the closed loop."""
        each = self.options.get("messages") or 1
        return self.events_per_s * (each if self.arrivals else 1)


def default_workers():
    """Pool sizes around the CPUs, as far as echopool takes them."""
    count = machine.cpus()
    sizes = {1, max(1, count // 2), count, 2 * count, 4 * count}
    return sorted(size for size in sizes if size <= recommend.MOST_WORKERS)


def size_is_right(size):
    """True for a size of messages that echoload takes: 64, 64k, 1M or 64-1k."""
    found = SIZE.fullmatch(size)
    if not found:
        return False
    units = {"": 1, "k": 2**10, "M": 2**20}
    low = int(found[1]) * units[found[2]]
    high = int(found[3]) * units[found[4]] if found[3] else low
    return 1 <= low <= high <= MOST_BYTES


def size_text(size):
    """ "64k" as "64 KiB", "64-1k" as "64-1k B"."""
    units = {"k": " KiB", "M": " MiB"}
    if "-" not in size and size[-1] in units:
        return size[:-1] + units[size[-1]]
    return size + " B"


def _with_common(name, options, common):
    """A Load with the options that all loads share; its name says those that change it."""
    if common.get("messages") and not options.get("arrivals"):
        name += f", {common['messages']} each"
    if common.get("pipeline"):
        name += f", {common['pipeline']} in flight"
    if common.get("idle"):
        name += f", {common['idle']} idle"
    return Load(name, {**common, **options})


def talking(connections, size, rate, common):
    """connections that talk in a closed loop each, or (rate) on one schedule."""
    name = f"{connections} x {size_text(size)}" + (f", {rate}/s" if rate else "")
    return _with_common(name, {"connections": connections, "size": size, "rate": rate}, common)


def arriving(arrivals, size, at_once, common):
    """New connections on a schedule, each with some messages; see --arrivals of echoload."""
    messages = common.get("messages") or 1
    name = f"{arrivals} conn/s, {messages} x {size_text(size)}"
    options = {"arrivals": arrivals, "connections": at_once, "messages": messages, "size": size}
    return _with_common(name, options, common)


def echoes(before, after, row):
    """How many echoes the server sent between two of its figures(); None without any.

    They include the ramp and the warm-up, as does what a Watch around the run counts; echoload's
    own count is of the measured time alone.
    """
    if not row["echoes_per_s"]:
        return None
    sent = [sum(worker["sent_bytes"] for worker in figures["workers"])
            for figures in (before, after)]
    return (sent[1] - sent[0]) * row["echoes_per_s"] / row["bytes_per_s"]


def latency(row, kind, figure):
    """A latency in microseconds without the generator's own delays, where these are known."""
    undelayed = row["undelayed_us_" + figure if kind == "latency"
                    else f"connect_undelayed_us_{figure}"]
    return row[f"{kind}_us_{figure}"] if undelayed is None else undelayed


def others_share(row):
    """The share of the CPUs that neither the server nor the generator used, but others did."""
    cpus = row["cpu_cpus"] or 1
    return max(0, row["cpu_machine"] - (row["cpu_generator"] + (row["cpu_server"] or 0)) / cpus)


class Sweep:
    """Runs each load on each pool size in every round; rows has a dictionary for each run.

    program, echoload: the two programs. config, overrides: the operator's. live: reload resizes one
    server. timing: echoload's options for every run, duration, warmup, threads. seed: of the order
    and of the loads; all runs of a round share one.
    """

    def __init__(self, program, echoload, config, overrides, *, live, timing, seed=1):
        self.program = program
        self.echoload = echoload
        self.config = config
        self.overrides = list(overrides)
        self.live = live
        self.timing = timing
        self.seed = seed
        self.rows = []

    def run(self, loads, sizes, progress, count=None, until_sure=True):
        """Makes all runs; an interruption leaves those so far in rows.

        count: of rounds at most, without it as many as progress has time for. until_sure: it ends
        when the choice is sure, and leaves out what cannot be chosen any more.
        """
        with ExitStack() as stack:
            one = stack.enter_context(self._start(sizes[0])) if self.live else None
            cells = [(workers, each) for workers in sizes for each in loads]
            each_s = number = 0
            while cells and number != count and progress.has_time(each_s * len(cells)):
                number += 1
                begin = time.monotonic()
                self._round(number, cells, one, progress)
                each_s = (time.monotonic() - begin) / len(cells)
                if until_sure:
                    cells = self._left(number, cells)
                    progress.end_round(number, recommend.sureness(self.counted()))

    def _round(self, number, cells, one, progress):
        """Makes a run of each cell, in an order of chance: none always comes after the same."""
        for workers, each in random.Random(f"{self.seed} {number}").sample(cells, len(cells)):
            progress.begin(f"round {number}, {recommend.workers_text(workers)}, {each.name}")
            row = self._cell(one, workers, each, self.seed + number)
            self.rows.append({"round": number, "load": each.name, "workers": workers, **row})
            if not row["ok"]:
                progress.say(f"failed: {recommend.workers_text(workers)}, {each.name}: "
                             f"{load.failure_text(row)}")
            progress.end()

    def counted(self):
        """The rows without those of disturbed rounds."""
        return recommend.undisturbed(self.rows)

    def _left(self, number, cells):
        """The cells that are still worth a run after this round."""
        cells = [(workers, each) for workers, each in cells
                 if recommend.may_count(self.rows, workers, each.name)]
        if not standing.is_look(number):
            return cells
        named = [(workers, each.name) for workers, each in cells]
        wanted = recommend.cells_left(self.counted(), named)
        return [(workers, each) for workers, each in cells if (workers, each.name) in wanted]

    def _start(self, workers):
        chosen = [*self.overrides, f"pool.workers={workers}"]
        return server.echopool(self.program, self.config, chosen, live=self.live)

    def _cell(self, one, workers, each, seed):
        if one is None:
            with self._start(workers) as fresh:
                return self._measure(fresh, each, seed)
        one.reload({"pool.workers": str(workers)})
        return self._measure(one, each, seed)

    def _measure(self, target, each, seed=1):
        """Makes one run: echoload's figures, joined with the server's."""
        before = target.figures()
        with server.Watch(target) as watch:
            try:
                result = load.run(self.echoload, target.target, server=target.pid,
                                  seed=seed % 2**32, **self._options(each))
            except load.LoadFailed as failure:
                if failure.usage:
                    raise
                return {"ok": False, "message": str(failure), "echoes_per_s": None, "p99_us": None}
        row = load.row(result)
        for figure in ("p50", "p99"):
            row[f"{figure}_us"] = latency(row, "connect" if each.arrivals else "latency", figure)
        row["disturbance"] = max(others_share(row), row["generator_held_share"])
        if each.events_per_s:
            row["kept_per_s"] = law.kept_per_s(row["echoes_per_s"], row["seconds"],
                                               each.asked_per_s, each.events_per_s,
                                               bool(each.options.get("poisson")))
        figures = target.figures()
        echoed = echoes(before, figures, row)
        row.update(server_memory_bytes=watch.memory_bytes,
                   server_voluntary_switches_per_echo=watch.voluntary / echoed if echoed else None,
                   server_involuntary_switches_per_echo=watch.involuntary / echoed
                   if echoed else None)
        row["server_workers"] = len(figures["workers"])
        row.update((f"queue_{key}", value) for key, value in figures["queue"].items()
                   if key.startswith("wait_us"))
        return row

    def _options(self, each):
        """echoload's options for a load, with no more threads than connections."""
        options = {**self.timing, **each.options}
        if "threads" in options:
            options["threads"] = min(options["threads"], options["connections"])
        return options

    def calibrated_sizes(self, loads):
        """Pool sizes that reach beyond what Little's law asks, for worker_connections = 1.

        Each load is run once on a pool so large that nobody waits.
        """
        most = 1
        with self._start(CALIBRATION_WORKERS) as large:
            for each in loads:
                row = self._measure(large, each)
                rows = [{**row, "runs": 1, "failed": not row["ok"]}]
                found = law.little(rows, each.options["messages"], "p50")
                most = max(most, found.workers if found else 1)
        return law.sizes_beyond(default_workers(), most)
