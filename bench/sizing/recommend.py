"""Which pool size to take, from measured rows: pure functions.

A row is one pool size under one load, as rounds.summarize() makes it: "load", "workers",
"echoes_per_s", "p99_us", "runs", "failed" (how many of the runs); and, in the open loop,
"kept_per_s" (see kept_per_s()).

The rule: the smallest pool within 5 % of the best throughput whose p99 is within 10 % of the best
that such a pool has. (In the closed loop a pool that serves half as much has a better p99, as its
clients ask half as often; that recommends nothing.) When no size is right for all of several loads,
each size counts by its smallest share of the best throughput, and the smallest of the best wins. A
size with a failed run (a wrong byte, a failed connection) is never recommended, and is the best of
nothing.
"""

import math
from typing import NamedTuple

from common import rounds

THROUGHPUT_SHARE = 0.95
P99_RATIO = 1.10
MOST_WORKERS = 1024
# Binary fractions are not exact: 100 * 0.57 is 56.99999999999999.
ROUNDING = 1e-9
# With equal gaps one event may be missing in the time, and one answer may come after its end.
EDGE_EVENTS = 2
# With so much more throughput than the next smaller size, a larger one may gain, too.
GAIN = 1.05


class Advice(NamedTuple):
    """workers: the size, or None. within: the size is within both bounds."""

    workers: object
    within: bool
    reason: str


class Score(NamedTuple):
    """One size under one load: its share of the best throughput, its p99 over the best one.

    The best p99 is that of the sizes within the bound of the throughput.
    """

    workers: int
    load: str
    share: float
    ratio: float

    @property
    def excess(self):
        """At most 1 within both bounds; above 1, how far it misses the one that it misses most."""
        return max(THROUGHPUT_SHARE / self.share if self.share else math.inf,
                   self.ratio / P99_RATIO)


def kept_per_s(echoes_per_s, seconds, asked_per_s, events_per_s, poisson):
    """The throughput that counts in the open loop: the schedule's own where it was kept.

    More is not better there, and a little less is chance. A schedule is kept if at most 1 % is
    missing, and besides three standard deviations at random moments (poisson), or at equal gaps the
    events at the edges of the time. events_per_s: the schedule's messages or connections;
    asked_per_s: the messages of these.
    """
    events = events_per_s * seconds
    may_lack = 3 * math.sqrt(events) if poisson else EDGE_EVENTS
    least = 0.99 - may_lack / events if events else 0.99
    return asked_per_s if echoes_per_s >= asked_per_s * least else echoes_per_s


def throughput(row):
    """The echoes a second of a row that count for the rule."""
    return row.get("kept_per_s") or row["echoes_per_s"]


def usable(row):
    """Whether a size counts: none of its runs failed and there is something to compare."""
    return not row["failed"] and bool(row["echoes_per_s"]) and bool(row["p99_us"])


def loads(rows):
    """The names of the loads, in the order of the rows."""
    return list(dict.fromkeys(row["load"] for row in rows))


def scores(rows):
    """A Score for each usable row of one load, smallest pool first."""
    good = sorted(filter(usable, rows), key=lambda row: row["workers"])
    if not good:
        return []
    most = max(map(throughput, good))
    p99 = min(row["p99_us"] for row in good if throughput(row) >= THROUGHPUT_SHARE * most)
    return [Score(row["workers"], row["load"], throughput(row) / most, row["p99_us"] / p99)
            for row in good]


def workers_text(count):
    return rounds.count_text(count, "worker")


def _complete(found):
    """{size: its Scores}, smallest first, of the sizes that have one for every load of found."""
    wanted = {score.load for score in found}
    by_size = {workers: [score for score in found if score.workers == workers]
               for workers in sorted({score.workers for score in found})}
    return {workers: mine for workers, mine in by_size.items()
            if {score.load for score in mine} == wanted}


def choose(found):
    """The size by the rule from the Scores of one or several loads; (workers, within).

    Only sizes that have a Score for every one of the loads are considered: (None, False) when no
    size has.
    """
    by_size = _complete(found)
    worst = {workers: max(score.excess for score in mine) for workers, mine in by_size.items()}
    shares = {workers: min(score.share for score in mine) for workers, mine in by_size.items()}
    for workers, excess in worst.items():
        if excess <= 1:
            return workers, True
    # The first of equals is the smallest.
    return (max(shares, key=shares.get), False) if shares else (None, False)


def _measured(score):
    """Its figures, rounded for the worse, so that none looks within a bound that it misses."""
    share = math.floor(100 * score.share + ROUNDING)
    ratio = math.ceil(100 * score.ratio - ROUNDING) / 100
    return f"{share} % of the best throughput and {ratio:.2f} times the best p99"


def _smaller(found, workers):
    """Why the next smaller size was not taken; workers must be within both bounds."""
    below = {size: mine for size, mine in _complete(found).items() if size < workers}
    if not below:
        return ""
    nearest = max(below)
    score = max(below[nearest], key=lambda score: score.excess)
    under = f" under {score.load}" if len({one.load for one in found}) > 1 else ""
    has = "has" if nearest == 1 else "have"
    return f", while {workers_text(nearest)} {has} {_measured(score)}{under}"


def _left_out(rows):
    failed = sorted({row["workers"] for row in rows if not usable(row)})
    if not failed:
        return ""
    return ("; left out because runs failed: " + ", ".join(map(str, failed))
            + (" workers" if failed != [1] else " worker"))


def for_load(rows):
    """The Advice for one load."""
    found = scores(rows)
    # Under one load the pool with the best p99 that counts is always within both bounds.
    workers, _ = choose(found)
    if workers is None:
        return Advice(None, False, "No size can be recommended: every size had a failed run.")
    mine = next(score for score in found if score.workers == workers)
    reason = (f"{workers_text(workers)}: the smallest pool within both bounds, with "
              f"{_measured(mine)}{_smaller(found, workers)}{_left_out(rows)}.")
    return Advice(workers, True, reason)


def for_all(rows):
    """The Advice for all loads together: one size that is within both bounds under each of them."""
    by_load = {name: [row for row in rows if row["load"] == name] for name in loads(rows)}
    found = [score for mine in by_load.values() for score in scores(mine)]
    lost = [name for name, mine in by_load.items() if not any(map(usable, mine))]
    without = f" (without {', '.join(lost)}: every size failed there)" if lost else ""
    workers, within = choose(found)
    if workers is None:
        return Advice(None, False, "No size can be recommended for all loads: each had a failed "
                                   f"run under one of them{without}.")
    mine = min((score for score in found if score.workers == workers),
               key=lambda score: score.share)
    if within:
        start = (f"{workers_text(workers)}: the smallest pool within both bounds under every load"
                 f"{without}{_smaller(found, workers)}")
    else:
        start = (f"No size is within both bounds under every load{without}; "
                 f"{workers_text(workers)} come{'s' if workers == 1 else ''} nearest, at worst "
                 f"with {_measured(mine)} under {mine.load}")
    kept = [row for row in rows if row["load"] not in lost]
    return Advice(workers, within, start + _left_out(kept) + ".")


def votes(runs, cells):
    """What each round alone would recommend for all loads together: a size or None.

    cells: the runs of a whole round; an interrupted round does not count.
    """
    by_round = {}
    for run in runs:
        by_round.setdefault(run["round"], []).append(run)
    return [for_all(rounds.summarize(mine, ("load", "workers"))).workers
            for _, mine in sorted(by_round.items()) if len(mine) == cells]


class Doubt(NamedTuple):
    """A figure of one size, within a bound in some rounds and outside of it in others."""

    workers: int
    figure: str
    percent: float


def doubts(rows, workers):
    """The Doubts that the choice of workers for one load depends on.

    They are about this size, smaller ones, which the rule prefers, and the best throughput.
    """
    good = [row for row in rows if usable(row)]
    most = max(map(throughput, good))
    enough = [row for row in good if throughput(row) >= THROUGHPUT_SHARE * most]
    best_p99 = min(row["p99_us"] for row in enough)
    found = []
    for row in good:
        key = "kept_per_s" if row.get("kept_per_s") else "echoes_per_s"
        decides = row["workers"] <= workers
        if (decides or row[key] == most) and (
                row[f"{key}_low"] < THROUGHPUT_SHARE * most <= row[f"{key}_high"]):
            found.append(Doubt(row["workers"], "throughput", rounds.spread_percent(row, key)))
        # The p99 chooses nothing where only one size has enough throughput.
        if decides and row in enough and len(enough) > 1 and (
                row["p99_us_low"] <= P99_RATIO * best_p99 < row["p99_us_high"]):
            found.append(Doubt(row["workers"], "p99", rounds.spread_percent(row, "p99_us")))
    return found


def still_gains(rows, workers):
    """Whether workers is the largest size of one load and far above the next smaller one."""
    good = sorted(filter(usable, rows), key=lambda row: row["workers"])
    if len(good) < 2 or workers != max(row["workers"] for row in rows) or workers >= MOST_WORKERS:
        return False
    return good[-1]["workers"] == workers and throughput(good[-1]) > GAIN * throughput(good[-2])


class Law(NamedTuple):
    """Little's law for one load: arrival rate x holding time = connections in service."""

    arrivals_per_s: float
    holding_us: float
    in_service: float

    @property
    def workers(self):
        """The workers that are busy on average, each with one connection, rounded up."""
        return max(1, math.ceil(self.in_service))


def little(rows, messages, average="mean"):
    """The Law for an arrivals load of `messages` messages on each connection; None without rows.

    A connection is held from its connect to its last echo. The size with the shortest mean counts:
    its clients waited least for a worker, and waiting is not service. average: "p50" is a guess
    that one disturbance does not change.
    """
    held = [(row[f"connect_us_{average}"] + (messages - 1) * row[f"latency_us_{average}"],
             row["opened_per_s"]) for row in rows if usable(row)]
    if not held:
        return None
    holding_us, arrivals_per_s = min(held)
    return Law(arrivals_per_s, holding_us, arrivals_per_s * holding_us / 1e6)


def sizes_beyond(sizes, workers):
    """The sizes, and their doubles until one is at least twice the workers that the law asks."""
    found = sorted(sizes)
    while found[-1] < 2 * workers and 2 * found[-1] <= MOST_WORKERS:
        found.append(2 * found[-1])
    return found


def file_lines(workers, pool=()):
    """The line for the configuration file; pool: further settings of the group, as pairs."""
    others = "".join(f" {name} = {value};" for name, value in pool)
    return f"pool: {{ workers = {workers};{others} }};"
