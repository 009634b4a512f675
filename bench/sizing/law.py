"""What the open loop's figures mean: a schedule that was kept, Little's law. Pure functions."""

import math
from typing import NamedTuple

from sizing.recommend import MOST_WORKERS, usable

# With equal gaps one event may be missing in the time, and one answer may come after its end.
EDGE_EVENTS = 2


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
