"""The arithmetic of bench/tune.py on made-up rows: the rule, medians, tables, what is told."""

import re
import subprocess
from types import SimpleNamespace

import pytest

from common import rounds, table
from harness import PROGRAM
from sizing import law, recommend, report, sweep


def rows(*figures, load="50 x 64 B"):
    """The runs of a round under one load from (workers, echoes_per_s, p99_us[, failed])."""
    return [{"round": 1, "load": load, "workers": workers, "echoes_per_s": throughput,
             "p99_us": p99, "ok": not failed}
            for workers, throughput, p99, *failed in figures]


@pytest.mark.parametrize("figures, workers", [
    (((1, 600, 100), (2, 1000, 100), (4, 1000, 100)), 2),
    (((1, 950, 110), (2, 1000, 100)), 1),
    (((1, 949, 100), (2, 1000, 100)), 2),
    (((1, 1000, 111), (2, 1000, 100)), 2),
    (((1, 1000, 100), (2, 1000, 100)), 1),
    (((4, 1000, 100), (2, 990, 101), (1, 500, 100)), 2),
    (((8, 1000, 100),), 8),
], ids=["enough throughput", "both just within", "throughput just outside", "p99 just outside",
        "equals: the smaller", "in any order", "only one"])
def test_the_smallest_size_within_both_bounds(figures, workers):
    advice = recommend.for_load(rows(*figures))
    assert (advice.workers, advice.within) == (workers, True)
    assert advice.reason.startswith(f"{recommend.workers_text(workers)}: the smallest pool that is")


def test_the_reason_says_why_a_smaller_pool_is_not_enough():
    advice = recommend.for_load(rows((1, 600, 120), (2, 1000, 100), (4, 980, 100)))
    assert advice.reason == (
        "2 workers: the smallest pool that is not worse than another, while 1 worker has 60 % of "
        "the throughput of 2 workers. In 1 round it cannot be told apart from 4 workers: none of "
        "them is shown to be better, so the smallest is taken.")


@pytest.mark.parametrize("figures, workers", [
    (((1, 500, 100), (2, 900, 130), (4, 1000, 300)), 4),
    (((1, 500, 10), (2, 1000, 230), (4, 960, 200)), 4),
    (((1, 500, 10), (2, 1000, 215), (4, 960, 200)), 2),
], ids=["only one has the throughput", "its p99 decides among those that have it", "just within"])
def test_the_p99_of_a_pool_that_serves_less_does_not_count(figures, workers):
    advice = recommend.for_load(rows(*figures))
    assert (advice.workers, advice.within) == (workers, True)


@pytest.mark.parametrize("figures, words", [
    ((2, 946, 104), "94 % of the throughput of 4 workers"),
    ((2, 949.9, 104), "94 % of the throughput of 4 workers"),
    ((2, 1000, 110.1), "1.11 times the p99 of 4 workers"),
    ((2, 570, 100), "57 % of the throughput of 4 workers"),
], ids=["throughput", "throughput nearly", "p99", "an exact share"])
def test_a_rounded_figure_never_looks_within_a_bound_that_it_misses(figures, words):
    assert f"while 2 workers have {words}" in recommend.for_load(
        rows(figures, (4, 1000, 100))).reason


def test_sizes_with_a_failed_run_do_not_count_and_are_named():
    advice = recommend.for_load(rows((1, 2000, 10, 1), (2, 900, 100), (4, 1000, 100)))
    assert (advice.workers, advice.within) == (4, True)
    assert "; left out because runs failed: 1 worker. " in advice.reason


def test_nothing_is_recommended_when_every_size_failed():
    advice = recommend.for_load(rows((1, 1000, 100, 3), (2, None, None, 1)))
    assert advice[:3] == (None, False,
                          "No size can be recommended: every size had a failed run.")


def test_all_loads_together_need_a_size_that_is_right_for_each():
    light = rows((1, 1000, 100), (2, 1000, 100), (4, 1000, 100), load="light")
    heavy = rows((1, 500, 100), (2, 1000, 100), (4, 1000, 100), load="heavy")
    advice = recommend.decide(light + heavy)
    assert (advice.workers, advice.within) == (2, True)
    assert ("1 worker has 50 % of the throughput of 2 workers under heavy. "
            in advice.reason)


def test_the_smaller_size_that_is_named_was_measured_under_every_load():
    light = rows((1, 500, 100), (2, 1000, 100, 1), (4, 1000, 100), load="light")
    heavy = rows((1, 700, 100), (2, 1000, 100), (4, 1000, 100), load="heavy")
    advice = recommend.decide(light + heavy)
    assert (advice.workers, advice.within) == (4, True)
    assert "while 1 worker has 50 % of the throughput of 4 workers" in advice.reason


def test_all_loads_together_take_the_size_with_the_best_throughput_on_average():
    one = rows((1, 1000, 100), (2, 900, 100), (4, 600, 100), load="one")
    other = rows((1, 600, 100), (2, 920, 100), (4, 1000, 100), load="other")
    advice = recommend.decide(one + other)
    assert (advice.workers, advice.within) == (2, False)
    assert ("2 workers come nearest, with 90 % of the best throughput on average, 90 % of the "
            "throughput of 1 worker under one, 92 % of the throughput of 4 workers under other."
            in advice.reason)


@pytest.mark.parametrize("of_four, workers", [(940, 2), (960, 2), (980, 4)],
                         ids=["too little", "at the edge", "near enough"])
def test_a_larger_size_for_a_better_p99_keeps_the_throughput_of_each_load(of_four, workers):
    """Both sides of the bound have one answer."""
    small = rows((1, 500, 100), (2, 1000, 100), (4, of_four, 100), load="small")
    large = rows((1, 500, 300), (2, 1000, 250), (4, 1000, 100), load="large")
    advice = recommend.decide(small + large)
    assert (advice.workers, advice.within) == (workers, workers == 4)
    assert ("2.50 times the p99 of 4 workers under large" in advice.reason)
    assert ("; 4 workers would do, but with 96 % of the best throughput under small."
            in advice.reason) == (of_four == 960)


def test_sizes_that_are_each_worse_than_another_have_an_answer():
    """Each size fails in another round, and is slower than the next in a circle."""
    runs = [{"round": number, "load": "x", "workers": size, "ok": size != failed, "p99_us": 100,
             "echoes_per_s": 100 if size == fast else 50}
            for number, failed, fast in ((1, 1, 2), (2, 2, 4), (3, 4, 1)) for size in (1, 2, 4)]
    advice = recommend.decide(runs)
    assert (advice.workers, advice.within) == (1, False)
    assert "with 50 % of the best throughput" in advice.reason
    assert recommend.cells_left(runs, [(1, "x"), (2, "x"), (4, "x")]) == []


def test_all_loads_together_leave_out_what_failed():
    bad = rows((1, 1000, 100, 1), (2, 1000, 100, 1), load="bad")
    good = rows((1, 1000, 100, 1), (2, 1000, 100), load="good")
    advice = recommend.decide(bad + good)
    assert advice.workers == 2
    assert "(without bad: every size failed there)" in advice.reason
    crossed = rows((1, 1000, 100, 1), (2, 1000, 100), load="a") + rows(
        (1, 1000, 100), (2, 1000, 100, 1), load="b")
    assert recommend.decide(crossed).workers is None


@pytest.mark.parametrize("echoes, poisson, kept", [
    (2000, False, 2000), (1971, False, 2000), (1969, False, 1969), (2100, True, 2000),
    (1700, True, 2000), (1600, True, 1600)])
def test_in_the_open_loop_the_schedule_counts_where_it_was_kept(echoes, poisson, kept):
    """100 connections a second with 20 messages each, for 4 s: 400 of them, give or take 60."""
    assert law.kept_per_s(echoes, 4.0, 2000, 100, poisson) == kept


@pytest.mark.parametrize("each", [1, 1000], ids=["messages", "connections of 1000"])
@pytest.mark.parametrize("answered, kept", [(8, True), (7, True), (6, True), (5, False)])
def test_the_edges_of_a_short_time_are_not_the_servers_fault(answered, kept, each):
    """5 a second for 1.5 s: 7 or 8 are due, and one of the answers may come after the end."""
    measured = answered * each / 1.5
    found = law.kept_per_s(measured, 1.5, 5 * each, 5, False)
    assert found == (5 * each if kept else measured)


def test_in_the_open_loop_chance_does_not_choose_the_size():
    measured = rows((1, 1850, 100), (2, 2100, 100))
    for row in measured:
        row["kept_per_s"] = 2000
    assert recommend.for_load(measured).workers == 1


def test_each_round_votes_on_its_own():
    runs = [{"round": number, "load": "x", "workers": workers, "ok": True, "p99_us": 100.0,
             "echoes_per_s": throughput}
            for number, of_one, of_two in ((1, 500, 1000), (2, 1000, 1000))
            for workers, throughput in ((1, of_one), (2, of_two))]
    assert recommend.votes(runs, 2) == [2, 1]
    assert recommend.votes(runs[:3], 2) == [2], "half a round"


def test_littles_law_is_arrival_rate_times_holding_time():
    measured = [{**row, "runs": 1, "failed": not row["ok"], "opened_per_s": 500.0,
                 "connect_us_mean": connect, "latency_us_mean": 200.0}
                for row, connect in zip(rows((1, 900, 900), (4, 1000, 100), (8, 1000, 100, 1)),
                                        (9000.0, 400.0, 1.0))]
    found = law.little(measured, messages=20)
    assert found.arrivals_per_s == 500
    assert found.holding_us == 400 + 19 * 200
    assert found.in_service == pytest.approx(500 * 4200e-6)
    assert found.workers == 3
    assert law.little(measured[2:], messages=20) is None


@pytest.mark.parametrize("asked, sizes", [
    (1, [1, 2, 4]), (2, [1, 2, 4]), (3, [1, 2, 4, 8]), (17, [1, 2, 4, 8, 16, 32, 64]),
    (5000, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024])])
def test_the_sizes_reach_twice_as_far_as_the_law_asks(asked, sizes):
    assert law.sizes_beyond([1, 2, 4], asked) == sizes


def test_the_lines_for_the_file_are_what_the_file_takes(tmp_path):
    path = tmp_path / "echopool.conf"
    lines = recommend.file_lines(3, [("worker_connections", "1"), ("queue_full", '"reject"')])
    path.write_text(lines, encoding="ascii")
    done = subprocess.run([PROGRAM, "-T", "-c", path], capture_output=True, text=True, check=True)
    assert 'pool.workers=3\npool.worker_connections=1\n' in done.stdout
    assert 'pool.queue_full="reject"\n' in done.stdout
    assert recommend.file_lines(3) == "pool: { workers = 3; };"


@pytest.mark.parametrize("cpus, sizes", [(1, [1, 2, 4]), (2, [1, 2, 4, 8]), (8, [1, 4, 8, 16, 32]),
                                         (300, [1, 150, 300, 600]), (2000, [1, 1000])])
def test_the_sizes_around_the_cpus_are_such_as_echopool_takes(cpus, sizes, monkeypatch):
    monkeypatch.setattr(sweep.machine, "cpus", lambda: cpus)
    assert sweep.default_workers() == sizes


@pytest.mark.parametrize("made, at_once", [
    (sweep.talking(50, "64", None, {}), 50),
    (sweep.talking(50, "64", None, {"idle": 1000}), 1050),
    (sweep.arriving(500, "64", 1000, {"idle": 10}), 11)])
def test_a_pool_must_hold_the_connections_that_stay(made, at_once):
    assert made.at_once == at_once


def test_the_servers_echoes_are_those_of_ramp_and_warm_up_too():
    before, after = ({"workers": [{"sent_bytes": count}, {"sent_bytes": 2 * count}]}
                     for count in (1000, 3000))
    row = {"echoes_per_s": 10.0, "bytes_per_s": 640.0}
    assert sweep.echoes(before, after, row) == (9000 - 3000) / 64
    assert sweep.echoes(before, after, {"echoes_per_s": 0.0, "bytes_per_s": 0.0}) is None


# Rounds and tables.

def test_medians_and_spread_over_the_rounds():
    runs = [{"load": "x", "workers": 1, "round": number, "ok": ok, "p99_us": p99,
             "limited_by": limit, "fairness": None}
            for number, p99, limit, ok in ((1, 20.0, "none", True), (2, 10.0, "machine", True),
                                           (3, 60.0, "machine", False))]
    row, = rounds.summarize(runs, ("load", "workers"))
    assert row == {"load": "x", "workers": 1, "runs": 3, "failed": 1, "p99_us": 20.0,
                   "p99_us_low": 10.0, "p99_us_high": 60.0, "limited_by": "machine",
                   "generator_runs": 0, "fairness": None}
    assert rounds.spread_percent(row, "p99_us") == pytest.approx(100 * 25 / 20)
    alone, = rounds.summarize(runs[:1], ("load", "workers"))
    assert rounds.spread_percent(alone, "p99_us") is None


@pytest.mark.parametrize("limits, kept", [
    ("none none generator generator machine", "generator"),
    ("server none machine", "machine"), ("none server", "server"),
    ("generator none none", "none"), ("b a", "b")])
def test_of_equally_frequent_limits_the_one_that_casts_doubt_is_kept(limits, kept):
    row, = rounds.summarize([{"workers": 1, "limited_by": limit} for limit in limits.split()],
                            ("workers",))
    assert row["limited_by"] == kept
    assert row["generator_runs"] == limits.split().count("generator")


def test_a_run_without_a_figure_leaves_the_median_to_the_others():
    runs = [{"workers": 1, "ok": False, "p99_us": None}, {"workers": 1, "ok": True, "p99_us": 4}]
    row, = rounds.summarize(runs, ("workers",))
    assert (row["p99_us"], row["failed"], row["runs"]) == (4, 1, 2)


def test_rounds_are_interleaved_and_every_second_goes_backwards():
    assert list(rounds.interleave("abc", 3)) == [
        (1, "a"), (1, "b"), (1, "c"), (2, "c"), (2, "b"), (2, "a"), (3, "a"), (3, "b"), (3, "c")]


@pytest.mark.parametrize("terminal", [False, True])
def test_a_terminal_that_has_gone_does_not_end_the_runs(terminal):
    def write(_):
        raise OSError("gone")

    stream = SimpleNamespace(write=write, isatty=lambda: terminal)
    with rounds.Progress(1, 1, stream) as progress:
        progress.begin("a run")
        progress.say("a word")
        progress.end()
    assert progress.done == 1


def test_a_table_is_aligned():
    columns = (table.Column("name", "name", left=True), table.Column("rate", "a\nsecond",
                                                                     table.whole))
    text = table.render(columns, [{"name": "short", "rate": 1234567.8},
                                  {"name": "a longer name", "rate": None}])
    assert text.splitlines() == ["                       a",
                                 "name              second",
                                 "-------------  ---------",
                                 "short          1,234,568",
                                 "a longer name          -"]


@pytest.mark.parametrize("value, text", [(0, "0.00"), (5.214, "5.21"), (52.14, "52.1"),
                                         (521.4, "521"), (52140.0, "52,140")])
def test_three_digits_are_shown(value, text):
    assert table.digits(value) == text


# What is told.

def runs(*figures):
    """Runs of one load from (round, workers, echoes_per_s, what limited them)."""
    return [{"round": number, "load": "x", "workers": workers, "ok": True, "p99_us": 100.0,
             "echoes_per_s": throughput, "limited_by": limit}
            for number, workers, throughput, limit in figures]


def told(rows_of_runs, *, cells=None, arrivals=False, worker_connections=4096, overrides=()):
    """The text of the recommendation in one line; and the table."""
    load = SimpleNamespace(name="x", arrivals=arrivals, options={"messages": 1})
    settings = {"pool.worker_connections": str(worker_connections), "pool.queue_full": '"reject"'}
    verdict = report.Verdict(
        rows_of_runs, [load], cells=cells or len({run["workers"] for run in rows_of_runs}),
        settings=settings, overrides=overrides)
    return " ".join(verdict.text().split()), report.table_text(verdict.rows, verdict.marks())


def test_runs_that_the_generator_limited_are_marked_in_table_and_text():
    text, shown = told(runs((1, 1, 900.0, "server"), (1, 2, 1000.0, "generator")))
    assert "Limited by: generator. In 1 of 2 rows echoload, not the server," in text
    assert re.search(r"^ +2 .* generator +<- recommended$", shown, re.MULTILINE), shown
    text, _ = told(runs((1, 1, 900.0, "server"), (1, 2, 1000.0, "machine")))
    assert "Limited by: generator" not in text


@pytest.mark.parametrize("limited, told_of", [(2, True), (1, False)])
def test_some_rounds_that_the_generator_limited_are_marked(limited, told_of):
    limits = ["none"] * (5 - limited) + ["generator"] * limited
    text, shown = told(runs(*((number, 1, 1000.0, limit) for number, limit in enumerate(limits))))
    assert ("Limited by: generator. In 1 of 1 rows" in text) == told_of
    assert ("none generator in 2 of 5, <- recommended" in " ".join(shown.split())) == told_of


@pytest.mark.parametrize("figures, sizes", [
    (((100, 100.0), (200, 210.0), (400, 400.0), (800, 850.0)), "800,1024"),
    (((1, 100.0), (2, 200.0), (4, 400.0), (8, 800.0)), "8,16,32"),
    (((4, 1000.0), (8, 1060.0)), "8,16,32"),
    (((4, 1000.0), (8, 1040.0)), None),
    (((1, 500.0), (4, 1000.0), (8, 900.0)), None),
    (((512, 500.0), (1024, 1000.0)), None),
    (((8, 1000.0),), None)],
    ids=["near the most", "doubles", "just above", "hardly more", "not the best", "the most",
         "only one"])
def test_a_largest_size_that_still_gains_is_told(figures, sizes):
    text, _ = told(runs(*((1, workers, throughput, "none") for workers, throughput in figures)))
    assert ("a larger pool may do better" in text) == bool(sizes)
    if sizes:
        assert (f"x: {figures[-1][0]} workers is the largest size measured, and its throughput is "
                "more than 5 % above that of the next smaller one, so a larger pool may do better: "
                f"measure larger ones, as with --workers {sizes}.") in text


def test_a_largest_size_that_was_taken_for_its_p99_does_not_still_gain():
    found = runs((1, 4, 1000.0, "none"), (1, 8, 1040.0, "none"))
    found[0]["p99_us"] = 200.0
    text, _ = told(found)
    assert "8 workers: the smallest pool" in text and "may do better" not in text


def test_a_largest_size_beyond_which_runs_failed_is_not_the_largest():
    found = runs((1, 2, 500.0, "none"), (1, 4, 1000.0, "none"), (1, 8, 1000.0, "none"))
    found[-1]["ok"] = False
    text, _ = told(found)
    assert "4 workers: the smallest pool" in text and "may do better" not in text


def test_what_cannot_be_told_apart_is_told_and_how_to_be_surer():
    text, _ = told(runs((1, 1, 1000.0, "none"), (1, 2, 1000.0, "none")))
    assert "In 1 round it cannot be told apart from 2 workers: none of them is shown" in text
    assert "For a surer answer measure longer" in text
    text, _ = told(runs(*((number, workers, 1000.0, "none") for number in range(1, 10)
                          for workers in (1, 2))))
    assert "This is sure after 9 rounds." in text and "surer answer" not in text


def test_one_round_has_no_spread():
    _, shown = told(runs((1, 1, 1000.0, "none")))
    assert re.search(r"^x +1 +1,000 +- +- +100 +- ", shown, re.MULTILINE), shown


def test_a_first_round_that_was_interrupted_recommends_nothing():
    text, shown = told(runs((1, 1, 1000.0, "none")), cells=2)
    assert text == "Not every size was measured: no recommendation."
    assert "recommended" not in shown


def test_the_line_for_the_file_has_what_the_overrides_changed():
    text, _ = told(runs((1, 2, 1000.0, "none")), worker_connections=1, overrides=[
        "pool.worker_connections=7", "pool.workers=9", "pool.queue_full=reject", "log.level=debug",
        "pool.worker_connections=1"])
    assert 'pool: { workers = 2; worker_connections = 1; queue_full = "reject"; };' in text


def test_littles_law_is_told_in_plain_numbers():
    text, _ = told([{**run, "opened_per_s": 125.0, "connect_us_mean": 1200000.0,
                     "latency_us_mean": 100.0} for run in runs((1, 200, 125.0, "none"))],
                   arrivals=True, worker_connections=1)
    assert ("125 connections/s x 1,200 ms each = 150 in service on average, so at least 150 "
            "workers;") in text
