"""The targets: which two figures each compares, and what the pairs of runs of these say.

The best of the others is chosen from rounds of all servers; then only these pairs are run, and only
they count. So who was lucky among many does not stay the best by it. Pure functions of rows; see
comparison.py.
"""

from common import pairs, table
from comparing.comparison import find_summary, interval_text, paired
from comparing.loads import LOADS, TARGETS
from comparing.peers import OWN, THREADED

# A ratio is known well enough when its interval is at most so far from it on each side.
NARROW = 0.03
ROUNDING = 1e-9


def _whose(target, summaries):
    """The (load, peer) whose figure a target compares with; None where it is missing."""
    if target.against not in ("peers", "threaded"):
        return target.against, OWN
    # Who is the best at a rate is chosen where the rate comes from: all answer at that rate.
    load = next((each.share_of for each in LOADS if each.key == target.load), None) or target.load
    value = "echoes_per_s" if load != target.load else target.value
    best = max if value == "echoes_per_s" else min
    found = [(s[value], s["peer"]) for s in summaries
             if s["load"] == load and s["peer"] != OWN and s.get(value)
             and not s["failed"] and (target.against == "peers" or s["peer"] in THREADED)]
    return (target.load, best(found)[1]) if found else None


def _usable(load, summaries):
    """Whether echopool ran under a load without a failure; at a rate, where the rate comes from."""
    wanted = next((each.share_of for each in LOADS if each.key == load), None) or load
    own = find_summary(summaries, wanted, OWN)
    return bool(own) and not own["failed"]


def chosen(summaries):
    """[(target, (load, echopool), (load, peer))] of the targets that can be judged."""
    found = []
    for target in TARGETS:
        whose = _whose(target, summaries)
        if whose and _usable(target.load, summaries) and _usable(whose[0], summaries):
            found.append((target, (target.load, OWN), whose))
    return found


def is_known(rows, pair):
    """Whether the ratio of one of chosen() is known well enough: one more round changes little."""
    target, own, other = pair
    found = paired(rows, target.value, own, other)
    return found is not None and found.pairs >= pairs.FEW and found.margin <= NARROW


def judge(summaries, rows):
    """The targets as rows: load, value, against, whose, wanted, ratio, reached (None: not run).

    summaries: of the rounds of all servers; rows: the runs that count. Only targets whose load was
    run. The ratio is the mean of pairs of the same rounds; with enough of them there are low and
    high, its interval, and sure: the interval does not hold what is wanted.
    """
    ran = {summary["load"] for summary in summaries} | {row["load"] for row in rows}
    known = {target: other for target, _, other in chosen(summaries)}
    return [_judged(target, known.get(target), rows)
            for target in TARGETS if target.load in ran]


def _judged(target, other, rows):
    pair = paired(rows, target.value, (target.load, OWN), other) if other else None
    failed = any(not row["ok"] for row in rows if (row["load"], row["peer"]) == (target.load, OWN))
    ratio = pair.times if pair and not failed else None
    least = target.at_most is None
    wanted = target.at_least if least else target.at_most
    return {"load": target.load, "value": target.value, "against": target.against,
            "whose": other and other[1], "least": least, "wanted": wanted, "ratio": ratio,
            "reached": _reached(failed, ratio, wanted, least), **_interval(pair, wanted)}


def _interval(pair, wanted):
    if pair is None or pair.pairs < pairs.FEW:
        return {"low": None, "high": None, "sure": False}
    return {"low": pair.low, "high": pair.high,
            "sure": pair.surely_below(wanted) or pair.surely_above(wanted)}


def _reached(failed, ratio, wanted, least):
    """Whether a target is reached; None: not measured. A failed round reaches nothing."""
    if failed:
        return False
    if ratio is None:
        return None
    # Logarithms and back are not exact.
    return ratio >= wanted - ROUNDING if least else ratio <= wanted + ROUNDING


def target_table(judgements, peers):
    """The targets, each with what was reached."""
    titles = {load.key: load.title for load in LOADS}
    names = {peer.key: peer.name for peer in peers}
    values = {"echoes_per_s": "echoes/s", "latency_us_p50": "p50", "latency_us_p99": "p99",
              "cpu_server_us_per_echo": "server CPU for an echo"}
    lines = []
    for judged in judgements:
        whose = names.get(judged["whose"], "-")
        if judged["against"] not in ("peers", "threaded"):
            whose = f"itself, {titles.get(judged['against'], judged['against'])}"
        lines.append({
            "load": titles[judged["load"]], "value": values[judged["value"]], "whose": whose,
            "wanted": f"{'at least' if judged['least'] else 'at most'} {judged['wanted']:.2f}",
            "ratio": judged["ratio"], "pairs": interval_text(judged["low"], judged["high"]),
            "reached": {True: "yes", False: "NO", None: "not measured"}[judged["reached"]]
            + (", not sure" if judged["low"] and not judged["sure"] else "")})
    return table.render([table.Column("load", "echopool at", left=True),
                         table.Column("value", "figure", left=True),
                         table.Column("whose", "against the best", left=True),
                         table.Column("wanted", "wanted", left=True),
                         table.Column("ratio", "ratio", "{:.3f}".format),
                         table.Column("pairs", "surely", left=True),
                         table.Column("reached", "reached", left=True)], lines)
