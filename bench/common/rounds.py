"""Repeated runs: their order, their progress, medians and spread."""

import contextlib
import shutil
import statistics
import sys
import time

BAR_WIDTH = 24
# What echoload says was at its limit; the one that casts the most doubt on a figure comes first.
LIMITS = ("generator", "quota", "machine", "server", "none")
# In how many rounds the generator may be at its limit by chance.
GENERATOR_BY_CHANCE = 1


def interleave(cells, rounds):
    """Yields (round, cell): every cell once in each round, numbered from 1.

    Every second round goes backwards, so that a drift of the machine affects all cells alike.
    """
    cells = list(cells)
    for number in range(1, rounds + 1):
        for cell in cells if number % 2 else reversed(cells):
            yield number, cell


def _is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def summarize(rows, by):
    """One row for each different value of the keys `by`, in the order of first appearance.

    A numeric key becomes its median, beside KEY_low and KEY_high; None does not count. Of other
    values the most frequent is kept: of equals the first in LIMITS, or the first. "runs" counts the
    rows, "failed" those that are not "ok", "generator_runs" those that the generator limited.
    """
    groups = {}
    for row in rows:
        groups.setdefault(tuple(row[key] for key in by), []).append(row)
    return [_summary(group, by) for group in groups.values()]


def _most_frequent(values):
    return min(statistics.multimode(values),
               key=lambda value: LIMITS.index(value) if value in LIMITS else len(LIMITS))


def _summary(group, by):
    found = {key: group[0][key] for key in by}
    found["runs"] = len(group)
    found["failed"] = sum(not row.get("ok", True) for row in group)
    found["generator_runs"] = sum(row.get("limited_by") == "generator" for row in group)
    for key in dict.fromkeys(key for row in group for key in row):
        if key in by or key in ("round", "ok"):
            continue
        values = [row[key] for row in group if row.get(key) is not None]
        if values and all(map(_is_number, values)):
            found[key] = statistics.median(values)
            found[f"{key}_low"] = min(values)
            found[f"{key}_high"] = max(values)
        else:
            found[key] = _most_frequent(values) if values else None
    return found


def generator_limited(row):
    """Whether the generator was at its limit in too many rounds to trust the median."""
    return row.get("limited_by") == "generator" or row["generator_runs"] > GENERATOR_BY_CHANCE


def spread_percent(row, key):
    """Half of the distance from lowest to highest, in percent of the median; None for one run.
    """
    median = row.get(key)
    if not median or row["runs"] < 2:
        return None
    return 50 * (row[f"{key}_high"] - row[f"{key}_low"]) / median


def clock(seconds):
    """Seconds as 0:07 or 12:34."""
    whole = max(0, round(seconds))
    return f"{whole // 60}:{whole % 60:02d}"


def count_text(count, noun):
    """1 round, 2 rounds."""
    return f"{count} {noun}" + ("" if count == 1 else "s")


class Progress:
    """Shows how far a series of runs is: by a bar on a terminal, or by a line after each round.

    total: runs altogether; in_round: runs in each round; or limit_s: for how long they may go on.
    A context manager.
    """

    def __init__(self, total, in_round, stream=None, limit_s=None):
        self.total = total
        self.in_round = in_round
        self.limit_s = limit_s
        self.sureness = ""
        self.stream = stream or sys.stderr
        self.done = 0
        self._terminal = self.stream.isatty()
        self._begin = time.monotonic()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._clear()

    def left_s(self):
        """The seconds that the rest takes, if its runs take as long as those so far."""
        if not self.done:
            return None
        return (time.monotonic() - self._begin) / self.done * (self.total - self.done)

    def _left(self):
        left_s = self.left_s()
        return "" if left_s is None else f", {clock(left_s)} left"

    def elapsed_s(self):
        return time.monotonic() - self._begin

    def has_time(self, seconds):
        """Whether so many seconds more are within the limit."""
        return self.limit_s is None or self.elapsed_s() + seconds <= self.limit_s

    def _of_limit(self):
        return f"{clock(self.elapsed_s())} of at most {clock(self.limit_s)}"

    def begin(self, text):
        """A run begins; text says which."""
        if not self._terminal:
            return
        if self.limit_s:
            share = min(1, self.elapsed_s() / self.limit_s)
            how_far = f"{self._of_limit()}{self.sureness and ', ' + self.sureness}"
        else:
            share = self.done / self.total
            how_far = f"{self.done}/{self.total}{self._left()}"
        filled = int(BAR_WIDTH * share)
        self._clear()
        line = f"[{'#' * filled}{'.' * (BAR_WIDTH - filled)}] {how_far}: {text}"
        # A line that wraps cannot be erased.
        self._write(line[:shutil.get_terminal_size().columns - 1])

    def end_round(self, number, sureness):
        """A round has ended of those that go on until a limit; sureness: what it has come to."""
        self.sureness = sureness
        if self.limit_s and not self._terminal:
            self._write(f"round {number} done, {self._of_limit()}: {sureness}\n")

    def end(self):
        """The run has ended."""
        self.done += 1
        if not self._terminal and not self.limit_s and self.done % self.in_round == 0:
            rounds = self.total // self.in_round
            self._write(f"round {self.done // self.in_round} of {rounds} done{self._left()}\n")

    def say(self, text):
        """A line that stays, above the bar."""
        self._clear()
        self._write(text + "\n")

    def _clear(self):
        if self._terminal:
            self._write("\r\x1b[K")

    def _write(self, text):
        # A terminal that has gone must not end the runs.
        with contextlib.suppress(OSError):
            self.stream.write(text)
            self.stream.flush()
