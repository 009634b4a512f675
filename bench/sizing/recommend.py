"""Which pool size to take, from the runs of all rounds: pure functions.

A run is one pool size under one load in one round: "load", "workers", "round", "ok",
"echoes_per_s", "p99_us"; in the open loop "kept_per_s" (see law.kept_per_s()).

The rule: the smallest pool that is not shown to be worse than another, by 5 % in throughput or by
10 % in p99. (In the closed loop a pool that serves half as much has a better p99, as its clients
ask half as often: only a pool whose throughput is within 5 % is one to compare p99 with.) What is
shown is decided by pairs of runs in the same round; see common/pairs.py. Worse is what the mean of
the pairs says and chance does not explain; so equal pools stay equal however often one asks, and a
pool that matters to nobody changes nothing among the others.

All loads together: where no pool is right under each of them, throughput decides, as no p99 makes
up for clients that are not served. The mean of the loads does, as it moves less than the worst of
them; of pools within half of the bound the smallest. It also decides where the right pool is a
larger one that loses more than that under some load: figures that differ by the whole bound are
frequent there, and such a pool would be right one time and not the next.

It is sure when that pool is also shown to be within both bounds of every other that is left. A pool
with two failed runs (a wrong byte, a failed connection) is never recommended.
"""

import math
import statistics
from typing import NamedTuple

from common import pairs, rounds
from sizing.standing import (FAILURES, ROUNDING, SURE_PART, THROUGHPUT_SHARE, standing,
                             throughput)

MOST_WORKERS = 1024
# A round that lost so much more of the CPUs or of its time than the usual one was disturbed.
DISTURBED = 0.1
# With so much more throughput than the next smaller size, a larger one may gain, too.
GAIN = 1.05
# As good as the best, where the figures only come near to it.
NEAR = THROUGHPUT_SHARE ** SURE_PART


class Advice(NamedTuple):
    """workers: the size, or None. within: it is not worse than another under any of the loads.

    sure: it is shown to be within both bounds; otherwise it cannot be told apart from undecided.
    """

    workers: object
    within: bool
    reason: str
    sure: bool = False
    undecided: tuple = ()


def usable(row):
    """Whether a row of medians has figures: not all of its runs failed."""
    return row["failed"] < row["runs"] and bool(row["echoes_per_s"]) and bool(row["p99_us"])


def loads(rows):
    """The names of the loads, in the order of the rows."""
    return list(dict.fromkeys(row["load"] for row in rows))


def workers_text(count):
    return rounds.count_text(count, "worker")


# The choice.

def _of_loads(runs):
    """The Standing of each load, in the order of the runs."""
    return [standing([run for run in runs if run["load"] == name]) for name in loads(runs)]


def decide(runs):
    """The Advice for all loads of the runs together; a load under which every size failed is left.
    """
    return choose(_of_loads(runs))


def choose(found):
    """The Advice from the Standings of one or several loads."""
    lost = [each.load for each in found if not each.sizes]
    found = [each for each in found if each.sizes]
    common = sorted(set.intersection(*(set(each.sizes) for each in found))) if found else []
    without = f" (without {', '.join(lost)}: every size failed there)" if lost else ""
    if not common:
        return Advice(None, False, _nothing(found, without))
    left = [size for size in common if not any(size in each.worse for each in found)]
    nearest = _nearest(found, common)
    if not left or (len(found) > 1 and nearest < left[0]
                    and any(each.shares[left[0]] < NEAR for each in found)):
        return _near(found, nearest, tuple(left[:1]), without)
    workers = left[0]
    undecided = tuple(sorted({size for each in found for size in each.open[workers]}
                             & set(left[1:])))
    enough = min(each.rounds for each in found) >= pairs.FEW
    sure = not any(each.open[workers] for each in found) and (enough or len(common) == 1)
    reason = (f"{workers_text(workers)}: the smallest pool that is not worse than another"
              f"{' under any load' if len(found) > 1 else ''}{without}"
              f"{_smaller(found, common, workers)}{_left_out(found)}.")
    return Advice(workers, True, reason + _doubt(found, undecided, sure), sure, undecided)


def _nothing(found, without):
    if not found:
        return "No size can be recommended: every size had a failed run."
    return ("No size can be recommended for all loads: each had a failed run under one of them"
            f"{without}.")


def _mean(found, size):
    """The share of the best throughput that a size has on average of the loads."""
    return statistics.geometric_mean([each.shares[size] for each in found])


def _nearest(found, common):
    """The size with the best throughput on average; the smallest of those that come near to it."""
    enough = NEAR * max(_mean(found, size) for size in common) - ROUNDING
    return next(size for size in common if _mean(found, size) >= enough)


def _near(found, workers, edge, without):
    """The Advice for the nearest size, where none is clearly right; edge: one that nearly is."""
    said = ""
    for each in found:
        if workers in each.worse:
            said += f", {_worse_text(each.worse[workers])} under {each.load}"
    for size in edge:
        worst = min(found, key=lambda each: each.shares[size])
        said += (f"; {workers_text(size)} would do, but with {_percent(worst.shares[size])} of "
                 f"the best throughput under {worst.load}")
    comes = "comes" if workers == 1 else "come"
    return Advice(workers, False, f"No size is clearly right under every load{without}; "
                  f"{workers_text(workers)} {comes} nearest, with "
                  f"{_percent(_mean(found, workers))} of the best throughput on average{said}"
                  f"{_left_out(found)}.", False, edge)


def _percent(share):
    """Rounded down, so that it never looks within a bound that it misses."""
    return f"{math.floor(100 * share + ROUNDING)} %"


def _worse_text(worse):
    if worse.figure == "throughput":
        return f"{_percent(worse.times)} of the throughput of {workers_text(worse.against)}"
    times = math.ceil(100 * worse.times - ROUNDING) / 100
    return f"{times:.2f} times the p99 of {workers_text(worse.against)}"


def _smaller(found, common, workers):
    """Why the next smaller size was not taken."""
    below = [size for size in common if size < workers]
    if not below:
        return ""
    reasons = [(each.worse[below[-1]], each.load) for each in found if below[-1] in each.worse]
    worse, load = max(reasons, key=lambda reason: abs(math.log(reason[0].times)))
    has = "has" if below[-1] == 1 else "have"
    return (f", while {workers_text(below[-1])} {has} {_worse_text(worse)}"
            + (f" under {load}" if len(found) > 1 else ""))


def _doubt(found, undecided, sure):
    """What one should know of how sure it is."""
    count = rounds.count_text(min(each.rounds for each in found), "round")
    if sure:
        return f" This is sure after {count}."
    if not undecided:
        return f" It is not sure after {count}."
    return (f" In {count} it cannot be told apart from {_listed(undecided)}: none of them is shown "
            "to be better, so the smallest is taken.")


def _listed(sizes):
    return ", ".join(map(str, sizes)) + (" workers" if list(sizes) != [1] else " worker")


def _left_out(found):
    failed = sorted({size for each in found for size in each.failed})
    return f"; left out because runs failed: {_listed(failed)}" if failed else ""


def for_load(runs):
    """The Advice for one load."""
    return choose([standing(runs)])


# What the sweep needs while it runs.

def may_count(runs, workers, load):
    """Whether a size has not failed too often under a load."""
    return sum(not run["ok"] for run in runs
               if (run["workers"], run["load"]) == (workers, load)) < FAILURES


def cells_left(runs, cells):
    """The cells (workers, load) that are still worth a run: neither out nor in a sure load."""
    found = {each.load: each for each in _of_loads(runs)}
    sure = {name for name, each in found.items() if choose([each]).sure}
    return [(workers, name) for workers, name in cells
            if name not in sure and workers not in found[name].worse
            and workers not in found[name].failed]


def sureness(runs):
    """How sure the choice is so far, in a few words for the progress."""
    if len({run["round"] for run in runs}) < pairs.FEW:
        return f"nothing is sure before {pairs.FEW} rounds"
    advice = decide(runs)
    if advice.workers is None:
        return "no size without failed runs"
    so_far = f"{workers_text(advice.workers)} so far"
    if advice.undecided:
        return f"{so_far}, not told apart from {', '.join(map(str, advice.undecided))}"
    return so_far + (", sure" if advice.sure else ", not sure")


def undisturbed(runs):
    """The runs without the rounds that others, or the generator, disturbed more than is usual here.

    "disturbance" of a run: the share of the CPUs or of the time that was lost to that. Usual is the
    median of the same size and load.
    """
    cells, by_round = {}, {}
    for run in runs:
        cells.setdefault((run["workers"], run["load"]), []).append(run.get("disturbance") or 0)
    usual = {cell: statistics.median_low(found) for cell, found in cells.items()}
    for run in runs:
        more = (run.get("disturbance") or 0) - usual[run["workers"], run["load"]]
        by_round.setdefault(run["round"], []).append(more)
    return [run for run in runs if statistics.fmean(by_round[run["round"]]) <= DISTURBED]


def votes(runs, cells):
    """What each round alone would recommend for all loads together: a size or None.

    cells: the runs of a whole round; an interrupted round does not count.
    """
    by_round = {}
    for run in runs:
        by_round.setdefault(run["round"], []).append(run)
    return [decide(mine).workers for _, mine in sorted(by_round.items()) if len(mine) == cells]


def still_gains(rows, workers):
    """Whether workers is the largest size of one load and far above the next smaller one.

    rows: medians.
    """
    good = sorted(filter(usable, rows), key=lambda row: row["workers"])
    if len(good) < 2 or workers != max(row["workers"] for row in rows) or workers >= MOST_WORKERS:
        return False
    return good[-1]["workers"] == workers and throughput(good[-1]) > GAIN * throughput(good[-2])


def file_lines(workers, pool=()):
    """The line for the configuration file; pool: further settings of the group, as pairs."""
    others = "".join(f" {name} = {value};" for name, value in pool)
    return f"pool: {{ workers = {workers};{others} }};"
