"""The rule of script/bench on simulated rounds of known best: it is found, and stays the same."""

import itertools
import math
import random

import pytest

from common import pairs
from harness import FULL, PLAIN
from sizing import command_line, recommend, standing

RUNS = 1000 if FULL and PLAIN else 40  # no build of the program matters here
# Of a simulation: what script/bench has time for by default; a run starts in a tenth of a second.
DEFAULTS = command_line.parser().parse_args([])
MOST_RUNS = int(DEFAULTS.limit / (DEFAULTS.duration + DEFAULTS.warmup + 0.1))
THROUGHPUT_NOISE = 0.15


def simulated(chance, truths, noise_of_p99, noise=THROUGHPUT_NOISE):
    """The runs of rounds that go on until it is sure; truths: {load: {size: (echoes/s, p99)}}."""
    cells = [(workers, name) for name, truth in truths.items() for workers in truth]
    left, runs = cells, []
    for number in itertools.count(1):
        of_round = chance.gauss(0, noise)
        runs += [{"round": number, "load": name, "workers": workers, "ok": True,
                  "echoes_per_s":
                  truths[name][workers][0] * math.exp(chance.gauss(of_round, noise)),
                  "p99_us": truths[name][workers][1] * math.exp(chance.gauss(0, noise_of_p99))}
                 for workers, name in left]
        if standing.is_look(number):
            left = recommend.cells_left(runs, cells)
        if not left or len(runs) + len(left) > MOST_RUNS:
            break
    return runs


def chosen(truth, noise_of_p99, noise=THROUGHPUT_NOISE):
    """{size: in how many of the runs it was chosen}."""
    chance = random.Random(1)
    found = [recommend.for_load(simulated(chance, {"x": truth}, noise_of_p99, noise)).workers
             for _ in range(RUNS)]
    return {size: found.count(size) for size in found}


def lost(truth, size):
    """The share of the best throughput that a choice loses."""
    return 1 - truth[size][0] / max(throughput for throughput, _ in truth.values())


def with_best(best):
    """Half of the workers have three quarters of the throughput; more than enough only cost."""
    truth = {}
    for size in (1, 2, 4, 8, 16):
        doublings = math.log2(size / best)
        truth[size] = (1000 * (0.75 ** -doublings if doublings < 0 else 0.98 ** doublings),
                       100 * 1.15 ** max(0, doublings))
    return truth


@pytest.mark.parametrize("noise_of_p99", [0.15, 0.4])
@pytest.mark.parametrize("best", [1, 2, 4, 8])
def test_the_known_best_is_found_and_a_wrong_one_loses_little(best, noise_of_p99):
    truth = with_best(best)
    found = chosen(truth, noise_of_p99)
    assert found[best] >= 0.95 * RUNS, found
    assert all(lost(truth, size) <= 0.05 for size in found), found


@pytest.mark.parametrize("noise_of_p99", [0.15, 0.4])
def test_equal_sizes_have_the_same_answer_each_time(noise_of_p99):
    found = chosen(dict.fromkeys((1, 2, 4, 8, 16), (1000, 100)), noise_of_p99)
    assert found[1] >= 0.95 * RUNS, found


def test_sizes_that_do_not_matter_change_nothing_among_the_others():
    """The added one has a little more throughput, and four times the p99."""
    truth = {2: (97000, 500), 4: (98000, 500), 8: (100000, 500)}
    for sizes in (truth, {**truth, 32: (102200, 2000)}, {**truth, 16: (60000, 500)}):
        found = chosen(sizes, 0.15, noise=0.05)
        assert found[2] >= 0.95 * RUNS, found


@pytest.mark.parametrize("of_four", [0.93, 0.95, 0.96])
def test_loads_that_ask_for_two_sizes_have_the_same_answer_each_time(of_four):
    """Large messages gain in p99 by more workers, small ones lose at the edge of the bound."""
    small = {1: (780, 100), 2: (1000, 100), 4: (1000 * of_four, 95)}
    large = {1: (850, 280), 2: (980, 250), 4: (1000, 100)}
    chance = random.Random(1)
    found = [recommend.decide(simulated(chance, {"small": small, "large": large}, 0.4,
                                        noise=0.05)).workers for _ in range(RUNS)]
    assert found.count(2) >= 0.95 * RUNS, found


def test_a_quiet_machine_is_soon_sure():
    chance = random.Random(1)
    advice = recommend.for_load(simulated(
        chance, {"x": {1: (500, 100), 2: (1000, 100), 4: (1010, 99)}}, 0.02, noise=0.01))
    assert (advice.workers, advice.sure, advice.undecided) == (2, True, ())
    assert "This is sure after 5 rounds." in advice.reason


# One rule after the other.

def rounds_of(count, **figures):
    """count equal rounds of sizes: w1=(echoes/s, p99) and so on, with a trace of noise."""
    return [{"round": number, "load": "x", "workers": int(name[1:]), "ok": True,
             "echoes_per_s": throughput * (1 + 0.001 * (number % 3)), "p99_us": p99}
            for number in range(1, count + 1) for name, (throughput, p99) in figures.items()]


def test_one_failed_run_bars_no_size_but_two_do():
    runs = rounds_of(9, w1=(1000, 100), w2=(1000, 100))
    runs[0] = {**runs[0], "ok": False, "echoes_per_s": None, "p99_us": None}
    assert recommend.for_load(runs).workers == 1
    assert recommend.may_count(runs, 1, "x")
    runs[2] = {**runs[2], "ok": False}
    assert recommend.for_load(runs).workers == 2
    assert not recommend.may_count(runs, 1, "x") and recommend.may_count(runs, 2, "x")


def test_what_is_out_or_decided_is_not_measured_any_more():
    cells = [(1, "x"), (2, "x"), (4, "x")]
    runs = rounds_of(5, w1=(500, 100), w2=(1000, 100), w4=(1000, 100))
    assert recommend.cells_left(runs, cells) == []
    for number, run in enumerate(runs):
        run["p99_us"] *= 1 + 0.3 * (number * number % 7)
    assert recommend.cells_left(runs, cells) == [(2, "x"), (4, "x")]


def test_what_was_worse_once_stays_out_though_others_go():
    """The others were measured on; the one that is out has no new figures."""
    early = rounds_of(5, w1=(500, 100), w2=(1000, 100))
    late = [{**run, "round": run["round"] + 5} for run in rounds_of(10, w2=(400, 100))]
    assert recommend.for_load(early + late).workers == 2


def test_rounds_that_were_disturbed_more_than_the_usual_one_do_not_count():
    runs = rounds_of(7, w1=(1000, 100), w2=(1000, 100))
    for run in runs:
        run["disturbance"] = (0.2 * run["workers"] + 0.05 * (run["round"] == 2)
                              + 0.5 * (run["round"] in (3, 6)))
    runs = [run for run in runs if run["workers"] > 1 or run["round"] < 7]
    assert sorted({run["round"] for run in recommend.undisturbed(runs)}) == [1, 2, 4, 5, 7]


def test_how_sure_it_is_is_told_in_a_few_words():
    assert recommend.sureness(rounds_of(4, w1=(1, 1))) == "nothing is sure before 5 rounds"
    assert recommend.sureness(rounds_of(5, w1=(500, 9), w2=(1000, 9))) == "2 workers so far, sure"
    noisy = rounds_of(5, w1=(1000, 100), w2=(1000, 100))
    for number, run in enumerate(noisy):
        run["p99_us"] *= 1 + 0.3 * (number * number % 7)
    assert recommend.sureness(noisy) == "1 worker so far, not told apart from 2"


# Pairs.

def test_what_changes_both_figures_of_a_round_changes_no_ratio():
    ones = {number: math.log(100 * number) for number in range(1, 10)}
    others = {number: math.log(50 * number) for number in range(1, 10)}
    found = pairs.ratio(ones, others, 0.01)
    assert found.times == pytest.approx(2) and found.low == pytest.approx(2) and found.pairs == 9
    assert found.surely_above(1.99) and found.surely_below(2.01)
    assert not found.surely_above(2.01) and not found.surely_below(1.99)


def test_only_common_rounds_make_pairs_and_a_few_say_nothing():
    ones = dict.fromkeys(range(1, 9), 0.0)
    assert pairs.ratio(ones, {20: 0.0}, 0.01) is None
    few = pairs.ratio(ones, dict.fromkeys(range(5, 20), 0.0), 0.01)
    assert few.pairs == 4 and few.margin == math.inf and not few.surely_below(1000)


@pytest.mark.parametrize("level, freedom, wanted", [
    (0.05, 4, 2.132), (0.025, 8, 2.306), (0.01, 14, 2.624), (0.005, 26, 2.779),
    (0.001, 8, 4.501), (0.0025, 4, 5.598)])
def test_the_quantiles_are_student_s(level, freedom, wanted):
    assert pairs.quantile(level, freedom) == pytest.approx(wanted, rel=0.03)


def test_an_interval_holds_the_truth_as_often_as_it_says():
    chance = random.Random(2)
    missed = sum(
        pairs.ratio({n: chance.gauss(0, 1) for n in range(9)},
                    {n: chance.gauss(0, 1) for n in range(9)}, 0.05).surely_above(1)
        for _ in range(2000))
    assert 60 <= missed <= 140
