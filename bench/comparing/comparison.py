"""What the runs of a comparison mean: medians, ratios to the best, and tables.

Pure functions of rows. The row of a run has "load" and "peer" (their keys), "round", "ok", and
either the flat figures of echoload with "memory_bytes", or "error": why there are none. A summary
is what summarize() makes of all rounds of one server under one load; see targets.py for the pairs.
"""

from typing import NamedTuple

from common import pairs, rounds, table

# How often the true ratio of two servers may be beyond an interval on one side.
ERROR = 0.025


class Measure(NamedTuple):
    """A figure that is compared: its key, its title, its text, and the best of several."""

    key: str
    title: str
    show: object
    best: object


MEASURES = (
    Measure("echoes_per_s", "echoes/s", table.whole, max),
    Measure("latency_us_p50", "p50\nus", table.digits, min),
    Measure("latency_us_p99", "p99\nus", table.digits, min),
    Measure("latency_us_p99_9", "p99.9\nus", table.digits, min),
    Measure("cpu_server_us_per_echo", "server CPU\nus/echo", table.digits, min),
    Measure("memory_bytes", "memory\nMiB", table.mebibytes, min),
)
# The worst round is shown: one wrong byte is one too many.
COUNTS = ("errors_wrong", "starved", "connections_failed")
FAILURES = ("refused", "reset", "timed_out", "short", "other")


def summarize(rows):
    """One summary for each load and server, with KEY_ratio to the best of its load.

    A server that failed in any round is not the best of anything. For throughput there is also the
    interval of the ratio, from pairs of the same rounds: echoes_per_s_ratio_low and _high.
    """
    for row in rows:
        if "error" not in row:
            row["connections_failed"] = sum(row.get(f"errors_{kind}") or 0 for kind in FAILURES)
    summaries = rounds.summarize(rows, ("load", "peer"))
    for measure in MEASURES:
        for load in {summary["load"] for summary in summaries}:
            _add_ratios([s for s in summaries if s["load"] == load], measure)
    for summary in summaries:
        _add_interval(summary, summaries, rows)
    return summaries


def paired(rows, key, one, other):
    """The pairs.Ratio of a figure of two (load, peer); None without a common round."""
    found = [pairs.logs([row for row in rows if (row["load"], row["peer"]) == which],
                        lambda row: row.get(key)) for which in (one, other)]
    return pairs.ratio(*found, ERROR)


def _add_interval(summary, summaries, rows):
    best = max((s for s in summaries if s["load"] == summary["load"] and not s["failed"]),
               key=lambda s: s.get("echoes_per_s") or 0, default=None)
    found = best and best is not summary and paired(
        rows, "echoes_per_s", *((s["load"], s["peer"]) for s in (summary, best)))
    if found and found.pairs >= pairs.FEW:
        summary.update(echoes_per_s_ratio_low=found.low, echoes_per_s_ratio_high=found.high)


def _add_ratios(summaries, measure):
    values = [s[measure.key] for s in summaries if not s["failed"] and s.get(measure.key)]
    for summary in summaries:
        value = summary.get(measure.key)
        summary[f"{measure.key}_ratio"] = (
            value / measure.best(values) if values and value is not None else None)


def find_summary(summaries, load, peer):
    for summary in summaries:
        if (summary["load"], summary["peer"]) == (load, peer):
            return summary
    return {}


def interval_text(low, high):
    """Where a ratio surely is; with 1 in it the two cannot be told apart."""
    if low is None:
        return None
    return f"{'even, ' if low <= 1 <= high else ''}{low:.2f} to {high:.2f}"


def _ratio(value):
    return f"{value:.2f}" if value < 100 else table.whole(value)


def _columns(with_workers):
    columns = [table.Column("name", "server", left=True)]
    if with_workers:
        columns.append(table.Column("workers", "workers", table.whole))
    for measure in MEASURES:
        columns.append(table.Column(measure.key, measure.title, measure.show))
        columns.append(table.Column(f"{measure.key}_ratio", "of\nbest", _ratio))
        if measure.key == "echoes_per_s":
            columns.append(table.Column("pairs", "surely\nof best", left=True))
            columns.append(table.Column("spread", "+-", table.percent))
    columns += [table.Column("errors_wrong_high", "wrong\nbytes", table.whole),
                table.Column("starved_high", "star-\nved", table.whole),
                table.Column("connections_failed_high", "fail-\ned", table.whole),
                table.Column("note", "", left=True)]
    return columns


def _note(summary):
    if summary.get("failed"):
        said = summary.get("error") or summary.get("failure")
        return f"failed in {summary['failed']} of {summary['runs']} runs: {said}"
    if summary.get("runs") and rounds.generator_limited(summary):
        said = f" in {summary['generator_runs']} of {summary['runs']} runs"
        return "the generator was at its limit" + (
            said if summary["limited_by"] != "generator" else "")
    return ""


def load_table(load, peers, summaries):
    """The table of one load: every server, with the reason where it is not run."""
    lines = []
    for peer in peers:
        reason = peer.refuses(load)
        summary = find_summary(summaries, load.key, peer.key)
        note = f"not run: {reason}" if reason else _note(summary)
        lines.append({**summary, "name": peer.name, "note": note,
                      "pairs": interval_text(summary.get("echoes_per_s_ratio_low"),
                                             summary.get("echoes_per_s_ratio_high")),
                      "spread": rounds.spread_percent(summary, "echoes_per_s")})
    return table.render(_columns(any(line.get("workers") for line in lines)), lines)
