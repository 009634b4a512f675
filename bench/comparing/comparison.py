"""What the runs of a comparison mean: medians, ratios to the best, tables, and the targets.

Pure functions of rows. The row of a run has "load" and "peer" (their keys), "round", "ok", and
either the flat figures of echoload with "memory_bytes", or "error": why there are none. A summary
is what summarize() makes of all rounds of one server under one load.
"""

from typing import NamedTuple

from common import pairs, rounds, table
from comparing.loads import LOADS, TARGETS
from comparing.peers import OWN

LOOPS = ("epoll", "uv")
# How often the true ratio of two servers may be beyond an interval on one side.
ERROR = 0.025
ROUNDING = 1e-9


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


def _find(summaries, load, peer):
    for summary in summaries:
        if (summary["load"], summary["peer"]) == (load, peer):
            return summary
    return {}


def _standard(target, summaries):
    """(the figure to compare echopool's with, whose it is); (None, None) when it is missing."""
    if target.against in ("peers", "loops"):
        best = min if target.at_most is not None else max
        found = [(s[target.value], s["peer"]) for s in summaries
                 if s["load"] == target.load and s["peer"] != OWN and s.get(target.value)
                 and not s["failed"] and (target.against == "peers" or s["peer"] in LOOPS)]
        return best(found) if found else (None, None)
    found = _find(summaries, target.against, OWN)
    return None if found.get("failed") else found.get(target.value), OWN


def judge(summaries, rows):
    """The targets as rows: load, value, against, whose, wanted, ratio, reached (None: not run).

    Only those whose load was run. The ratio is the mean of pairs of the same rounds; with enough of
    them there are low and high, its interval, and sure: the interval does not hold what is wanted.
    """
    found = []
    ran = {summary["load"] for summary in summaries}
    for target in TARGETS:
        if target.load not in ran:
            continue
        own = _find(summaries, target.load, OWN)
        standard, whose = _standard(target, summaries)
        other = (target.load if target.against in ("peers", "loops") else target.against, whose)
        pair = paired(rows, target.value, (target.load, OWN), other) if standard else None
        ratio = pair.times if pair and not own.get("failed") else None
        least = target.at_most is None
        wanted = target.at_least if least else target.at_most
        found.append({"load": target.load, "value": target.value, "against": target.against,
                      "whose": whose, "least": least, "wanted": wanted, "ratio": ratio,
                      "reached": _reached(own, ratio, wanted, least), **_interval(pair, wanted)})
    return found


def _interval(pair, wanted):
    if pair is None or pair.pairs < pairs.FEW:
        return {"low": None, "high": None, "sure": False}
    return {"low": pair.low, "high": pair.high,
            "sure": pair.surely_below(wanted) or pair.surely_above(wanted)}


def _interval_text(low, high):
    return None if low is None else f"{low:.2f} to {high:.2f}"


def _reached(own, ratio, wanted, least):
    """Whether a target is reached; None: not measured. A failed round reaches nothing."""
    if own.get("failed"):
        return False
    if ratio is None:
        return None
    # Logarithms and back are not exact.
    return ratio >= wanted - ROUNDING if least else ratio <= wanted + ROUNDING


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
        summary = _find(summaries, load.key, peer.key)
        note = f"not run: {reason}" if reason else _note(summary)
        lines.append({**summary, "name": peer.name, "note": note,
                      "pairs": _interval_text(summary.get("echoes_per_s_ratio_low"),
                                              summary.get("echoes_per_s_ratio_high")),
                      "spread": rounds.spread_percent(summary, "echoes_per_s")})
    return table.render(_columns(any(line.get("workers") for line in lines)), lines)


def target_table(judgements, peers):
    """The targets, each with what was reached."""
    titles = {load.key: load.title for load in LOADS}
    names = {peer.key: peer.name for peer in peers}
    values = {"echoes_per_s": "echoes/s", "cpu_server_us_per_echo": "server CPU for an echo"}
    lines = []
    for judged in judgements:
        whose = names.get(judged["whose"], "-")
        if judged["against"] not in ("peers", "loops"):
            whose = f"itself, {titles.get(judged['against'], judged['against'])}"
        lines.append({
            "load": titles[judged["load"]], "value": values[judged["value"]], "whose": whose,
            "wanted": f"{'at least' if judged['least'] else 'at most'} {judged['wanted']:.2f}",
            "ratio": judged["ratio"], "pairs": _interval_text(judged["low"], judged["high"]),
            "reached": {True: "yes", False: "NO", None: "not measured"}[judged["reached"]]
            + (", not sure" if judged["low"] and not judged["sure"] else "")})
    return table.render([table.Column("load", "echopool at", left=True),
                         table.Column("value", "figure", left=True),
                         table.Column("whose", "against the best", left=True),
                         table.Column("wanted", "wanted", left=True),
                         table.Column("ratio", "ratio", "{:.3f}".format),
                         table.Column("pairs", "surely", left=True),
                         table.Column("reached", "reached", left=True)], lines)
