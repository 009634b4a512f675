"""Figures of the same rounds in pairs: how many times as large one is as another, and how surely.

What changes from round to round changes both, and so not their ratio. Ratios are kept as
logarithms, whose mean and deviation say something. Pure functions.
"""

import functools
import math
from statistics import NormalDist
from typing import NamedTuple

# Of fewer pairs the deviation says too little for an interval.
FEW = 5


class Ratio(NamedTuple):
    """The mean of log(one / other) over the common rounds, and how far the true one may be off.

    margin is infinite with fewer pairs than FEW: then nothing is sure.
    """

    log: float
    margin: float
    pairs: int

    @property
    def times(self):
        """How many times as large."""
        return math.exp(self.log)

    @property
    def low(self):
        return math.exp(self.log - self.margin)

    @property
    def high(self):
        return math.exp(min(self.log + self.margin, 700))

    def surely_below(self, times):
        return self.log + self.margin < math.log(times)

    def surely_above(self, times):
        return self.log - self.margin > math.log(times)


@functools.cache
def quantile(level, freedom):
    """What Student's t exceeds in a share `level` of all cases (Cornish and Fisher's expansion)."""
    z = NormalDist().inv_cdf(1 - level)
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / freedom + second / freedom**2 + third / freedom**3


def ratio(ones, others, level):
    """The Ratio of two figures, each {round: logarithm}; None without a common round.

    level: how often the true ratio may be beyond the margin on one side.
    """
    logs = [log - others[number] for number, log in ones.items() if number in others]
    if not logs:
        return None
    count = len(logs)
    mean = sum(logs) / count
    if count < FEW:
        return Ratio(mean, math.inf, count)
    variance = sum([(log - mean) ** 2 for log in logs]) / (count - 1)
    return Ratio(mean, quantile(level, count - 1) * math.sqrt(variance / count), count)


def logs(runs, figure):
    """{round: logarithm} of a figure, a function of a run; a failed run has none."""
    return {run["round"]: math.log(value) for run in runs if run.get("ok")
            and (value := figure(run))}
