"""What the rounds of one load say of each pool size: worse, as good, or neither. Pure functions.

recommend.py says what a run is, and has the rule.
"""

import math
from typing import NamedTuple

from common import pairs

THROUGHPUT_SHARE = 0.95
P99_RATIO = 1.10
# Worse by more than a bound on average is worse if it surely is by this part of the bound: a pool
# that is nearly as good as allowed is not thrown out by chance.
SURE_PART = 0.5
# How often all looks at all pools together may call one worse that is not.
ERROR = 0.05
# After how many rounds one looks: looking more often finds more by chance.
LOOKS = (5, 9, 15, 27, 45, 81, 150)
LIKELY_LOOKS = 5
FAILURES = 2
# Binary fractions are not exact: 100 * 0.57 is 56.99999999999999.
ROUNDING = 1e-9


class Worse(NamedTuple):
    """Why a size is out under one load: figure is "throughput" or "p99", times that of against."""

    figure: str
    times: float
    against: int


class Standing(NamedTuple):
    """What the rounds of one load say. sizes: all that count, smallest first.

    worse: {size: Worse}; shares: {size: mean throughput over that of the best that is left}; open:
    {size that is left: those that it is not shown to be as good as}.
    """

    load: str
    sizes: list
    failed: list
    rounds: int
    worse: dict
    shares: dict
    open: dict


def throughput(row):
    """The echoes a second of a row that count for the rule."""
    return row.get("kept_per_s") or row["echoes_per_s"]


def _p99(row):
    return row["p99_us"]


class _Figures:
    """The logarithms of one load by size and round, and their ratios."""

    def __init__(self, runs):
        by_size = {}
        for run in runs:
            by_size.setdefault(run["workers"], []).append(run)
        self.failed = sorted(size for size, mine in by_size.items()
                             if sum(not run["ok"] for run in mine) >= min(FAILURES, len(mine)))
        self.sizes = sorted(set(by_size) - set(self.failed))
        self._logs = {key: {size: pairs.logs(by_size[size], figure) for size in self.sizes}
                      for key, figure in (("throughput", throughput), ("p99", _p99))}
        self.sizes = [size for size in self.sizes
                      if all(self._logs[key][size] for key in self._logs)]
        self._level = ERROR / (2 * LIKELY_LOOKS * max(1, len(self.sizes) - 1))
        self._known = {}

    @property
    def rounds(self):
        return max((len(self._logs["p99"][size]) for size in self.sizes), default=0)

    def ratio(self, key, one, other):
        """The pairs.Ratio of two sizes; None without a common round."""
        if (key, one, other) not in self._known:
            found = pairs.ratio(self._logs[key][one], self._logs[key][other], self._level)
            self._known[key, one, other] = found
            self._known[key, other, one] = found and found._replace(log=-found.log)
        return self._known[key, one, other]

    def slower(self, one, other):
        """The Worse of a size with too little throughput beside another; None when it is not."""
        found = self.ratio("throughput", one, other)
        if found and found.log < math.log(THROUGHPUT_SHARE) - ROUNDING and (
                found.pairs < pairs.FEW or found.surely_below(THROUGHPUT_SHARE ** SURE_PART)):
            return Worse("throughput", found.times, other)
        return None

    def later(self, one, other):
        """The same of p99; the other must have enough throughput beside it."""
        enough = self.ratio("throughput", other, one)
        found = self.ratio("p99", one, other)
        if found and enough and enough.log >= math.log(THROUGHPUT_SHARE) - ROUNDING and (
                found.log > math.log(P99_RATIO) + ROUNDING) and (
                found.pairs < pairs.FEW or found.surely_above(P99_RATIO ** SURE_PART)):
            return Worse("p99", found.times, other)
        return None

    def worst(self, find, one, others):
        """The worst of what find says of a size and each of the others; None without any."""
        found = [worse for other in others if other != one and (worse := find(one, other))]
        return max(found, key=lambda worse: abs(math.log(worse.times)), default=None)

    def shown_good(self, one, other):
        """Whether a size is surely within both bounds of another."""
        share = self.ratio("throughput", one, other)
        p99 = self.ratio("p99", one, other)
        return bool(share) and share.surely_above(THROUGHPUT_SHARE) and p99.surely_below(P99_RATIO)


def standing(runs):
    """The Standing of the runs of one load. What was worse at an earlier look stays so."""
    most = max((run["round"] for run in runs), default=0)
    found = None
    for look in [*(number for number in range(1, most) if is_look(number)), most]:
        found = _look([run for run in runs if run["round"] <= look], found.worse if found else {})
    return found


def _look(runs, out):
    """The Standing of these runs; out: the worse sizes of an earlier one."""
    figures = _Figures(runs)
    sizes = figures.sizes
    # A pool whose p99 is far worse for a little more throughput is nothing to be held against.
    standards = [size for size in sizes if not figures.worst(figures.later, size, sizes)] or sizes
    standards = [size for size in standards if size not in out] or standards
    slow = {size: worse for size in sizes if size not in out
            and (worse := figures.worst(figures.slower, size, standards))}
    fast = [size for size in sizes if size not in slow and size not in out]
    late = {size: worse for size in fast
            if (worse := figures.worst(figures.later, size, fast))}
    worse = {**out, **slow, **late}
    left = [size for size in sizes if size not in worse]
    means = {size: min((found.log for other in left or sizes if other != size
                        and (found := figures.ratio("throughput", size, other))), default=0)
             for size in sizes}
    undecided = {size: [other for other in left
                        if other != size and not figures.shown_good(size, other)]
                 for size in left}
    return Standing(runs[0]["load"] if runs else "", sizes, figures.failed, figures.rounds, worse,
                    {size: math.exp(min(0, mean)) for size, mean in means.items()}, undecided)


def is_look(number):
    """Whether one looks after round `number`."""
    return number in LOOKS or (number > LOOKS[-1] and number % LOOKS[-1] == 0)
