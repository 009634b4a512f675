"""The load generator against servers with a fault, and told to do what cannot be done."""

import re
import time

import pytest

import odd_servers
from echoload import at, measure, measure_until, measure_well, needs_echoload, outcome_of, run
from harness import error_lines, span, unshared

pytestmark = needs_echoload

FAST = {"duration": 0.15, "warmup": 0}
RETRY_S = 0.1


@pytest.mark.parametrize("address", ["127.0.0.1:7007", "[::1]:7007"])
@pytest.mark.parametrize("options", [(), ("-m", 1), ("-r", 100)])
def test_where_nobody_listens_it_does_not_meet_itself(address, options):
    """The kernel has but one port for its side, and it is the server's."""
    network = unshared("--net", "ip link set lo up; "
                                "sysctl -qw net.ipv4.ip_local_port_range='7007 7007'")
    outcome = outcome_of(run("-j", "-", "-c", 1, "-d", 0.15, "-w", 0, *options, address,
                             wrapper=network))
    assert outcome.status == 1 and outcome.report["echoes"] == outcome.report["opened"] == 0
    # Where the port is still in use by the last try, there is none.
    assert "refused" in outcome.errors and set(outcome.errors) <= {"refused", "other"}


def test_one_wrong_byte_in_a_million_is_counted_and_the_first_is_told():
    with odd_servers.Corrupting() as server:
        outcome = measure_until(server.address, lambda: server.corrupted == server.limit == 5,
                                "-c", 1, "-s", "64k")
    assert outcome.status == 1 and outcome.errors == {"wrong": 5}
    line = next(line for line in outcome.said if "sent 0x" in line)
    place, sent, got = re.search(r"connection \d+: byte (\d+) of its stream: "
                                 r"sent 0x(\w\w), got 0x(\w\w)$", line).groups()
    assert int(place) == server.every
    assert int(sent, 16) ^ int(got, 16) == 1


@pytest.mark.parametrize("options", [
    ("-c", 5, "-s", "1k-100k"), ("-c", 3, "-p", 16, "-s", 5000), ("-c", 2, "-r", 2000, "-s", "50k"),
    ("-c", 4, "-t", 2, "-s", "64k"), ("-c", 10, "-m", 20, "-s", "100k")])
def test_wrong_bytes_are_counted_under_every_load(options):
    with odd_servers.Corrupting() as server:
        outcome = measure_until(server.address, lambda: server.corrupted == 5, *options)
    assert outcome.status == 1 and outcome.errors == {"wrong": 5}


def test_wrong_bytes_of_the_warm_up_count():
    with odd_servers.Corrupting(every=1000, limit=2) as server:
        outcome = measure_until(server.address, lambda: server.corrupted == 2, "-c", 1, "-w", 60)
    assert outcome.status == 1 and outcome.errors == {"wrong": 2}
    assert outcome.report["echoes"] == outcome.report["seconds"] == 0


def test_two_bytes_that_changed_places_are_two_wrong_ones():
    with odd_servers.Swapping() as server:
        outcome = measure_until(server.address, lambda: server.done, "-c", 1)
    assert outcome.status == 1 and outcome.errors == {"wrong": 2}


@pytest.mark.parametrize("options", [("-c", 1), ("-c", 2, "-r", 1000, "-p", 4)])
@pytest.mark.parametrize("kind", [odd_servers.Doubling, odd_servers.Dropping,
                                  odd_servers.Inventing])
def test_a_byte_too_many_or_too_few_is_wrong(kind, options):
    with kind() as server:
        outcome = measure_until(server.address, lambda: server.done, *options, "-T", 0.5)
    assert outcome.status == 1 and outcome.errors["wrong"] >= 1
    assert any("byte" in line for line in outcome.said)


def test_bytes_that_nobody_sent_are_counted():
    """At a rate that leaves the connection with nothing under way when they come."""
    with odd_servers.Inventing() as server:
        outcome = measure_until(server.address, lambda: server.done, "-c", 1, "-r", 100, "-s", 100)
    assert outcome.errors["wrong"] >= len(server.EXTRA)


def test_a_greeting_is_nothing_that_was_sent():
    with odd_servers.Greeting() as server:
        outcome = measure(server.address, "-c", 2, "-T", 0.2, **FAST)
    assert outcome.status == 1 and outcome.errors["wrong"] >= 1


def test_idle_connections_are_looked_at_too():
    with odd_servers.Greeting(greeted=3) as server:
        outcome = measure_until(server.address, lambda: server.received, "-c", 1, "-i", 3)
    assert outcome.status == 1 and outcome.errors == {"wrong": 3 * len(server.GREETING)}
    assert outcome.report["opened"] == 1


# Each of three connections that comes again has failed before.

@pytest.mark.parametrize("after, leave", [
    (0, odd_servers.close_politely), (640, odd_servers.close_politely),
    (670, odd_servers.close_politely), (640, odd_servers.close_after_asking)])
def test_a_server_that_closes_before_it_has_answered(after, leave):
    """After the connect, after whole answers, and in the middle of one."""
    with odd_servers.Leaving(after, leave) as server:
        outcome = measure_until(server.address, lambda: server.accepted >= 6, "-c", 3)
    assert outcome.status == 1 and set(outcome.errors) == {"short"}
    assert outcome.errors["short"] >= 3
    assert outcome.said


def test_an_end_that_comes_with_the_last_answer_is_no_fault():
    with odd_servers.AnsweringOnce() as server:
        assert measure_well(server.address, "-c", 2, "-m", 1)["opened"] > 0


@pytest.mark.parametrize("after", [0, 640, 670])
def test_a_server_that_closes_abruptly(after):
    with odd_servers.Leaving(after, odd_servers.close_abruptly) as server:
        outcome = measure_until(server.address, lambda: server.accepted >= 6, "-c", 3)
    assert outcome.status == 1 and sum(outcome.errors.values()) >= 3
    assert set(outcome.errors) <= {"short", "reset"}


@pytest.mark.parametrize("after", [0, 640, 670])
def test_a_server_that_resets(after):
    with odd_servers.Leaving(after, odd_servers.close_with_reset) as server:
        outcome = measure_until(server.address, lambda: server.accepted >= 6, "-c", 3)
    assert outcome.status == 1 and set(outcome.errors) == {"reset"}
    assert outcome.errors["reset"] >= 3
    assert any("reset" in line for line in outcome.said)


def test_a_server_that_never_answers():
    with odd_servers.Silent() as server:
        outcome = measure(server.address, "-c", 3, "-T", 0.3, **FAST)
    assert outcome.status == 1 and set(outcome.errors) == {"timed_out"}
    assert outcome.errors["timed_out"] >= 3
    report = outcome.report
    assert report["echoes"] == report["opened"] == 0 and report["starved"] == 3
    assert report["latency_us"]["p50"] is None


@pytest.mark.parametrize("backlog", [0, 10])
def test_a_server_that_never_accepts(backlog):
    """With a backlog of 0 most connects time out, with one of 10 the kernel connects them all."""
    with odd_servers.NeverAccepting(backlog) as server:
        outcome = measure(server.address, "-c", 5, "-T", 0.3, **FAST)
    assert outcome.status == 1 and set(outcome.errors) == {"timed_out"}
    assert outcome.errors["timed_out"] >= 5


def test_connects_that_time_out_at_different_times_end_too():
    with odd_servers.NeverAccepting(0) as server:
        outcome = measure(server.address, "-c", 30, "-C", 100, "-T", 0.2, **FAST)
    assert outcome.status == 1 and set(outcome.errors) == {"timed_out"}


@pytest.mark.parametrize("options", [(), ("-r", 1000), ("-m", 1), ("-a", 100),
                                     ("-a", 100, "-P", "-t", 2)])
def test_nobody_listens(options):
    with odd_servers.NotListening() as server:
        result = run("-c", 3, "-d", 600, *options, at(server.address))
    assert result.returncode == 1
    assert any("refused" in line for line in error_lines(result))


def test_nobody_listens_to_arrivals():
    with odd_servers.NotListening() as server:
        outcome = measure(server.address, "-c", 3, "-a", 100, **FAST)
    assert outcome.status == 1 and set(outcome.errors) == {"refused"}
    assert outcome.report["opened"] == 0


@pytest.mark.parametrize("options", [(), ("-a", 100000)])
def test_a_network_that_is_down_ends_it(options):
    """There a connect fails at once; what fails is not tried again at once."""
    wrapper = unshared("-n", "true")
    begin = time.monotonic()
    result = run("-j", "-", "-c", 3, "-d", 600, *options, "127.0.0.1:7007", wrapper=wrapper)
    retries = (time.monotonic() - begin) / RETRY_S
    outcome = outcome_of(result)
    assert outcome.status == 1 and set(outcome.errors) == {"other"}
    assert 1 <= outcome.errors["other"] <= 3 * (1 + retries)
    [line] = outcome.said
    assert "unreachable" in line


def test_connections_that_nobody_serves_are_starved():
    # Longer where not even those who are served got an answer in the measured time.
    for duration in (0.15, 1, 5):
        with odd_servers.FirstOnly(2) as server:
            outcome = measure(server.address, "-c", 5, "-T", span(3), duration=span(duration),
                              warmup=0)
        if outcome.report["starved"] <= 3:
            break
    assert outcome.status == 1 and outcome.errors == {"timed_out": 3}
    assert outcome.report["starved"] == 3
    assert outcome.report["opened"] == 2
    assert outcome.report["fairness"] == 0


def test_one_slow_connection_makes_the_fairness_small():
    delay_s = 0.1

    def enough(report):
        """All were served, and the others got far more than the slow one can have got."""
        return not report["starved"] and report["echoes"] > 30 * (report["seconds"] / delay_s + 1)

    report = None
    for _ in range(5):  # the first to come is the slow one
        with odd_servers.Slow(only_first=True, delay_s=delay_s) as server:
            report = measure_well(server.address, "-c", 3, duration=0.4)
        if enough(report):
            break
    assert enough(report) and 0 < report["fairness"] < 0.2


@pytest.mark.parametrize("options", [(), ("-r", 2000), ("-m", 3)])
def test_a_server_that_dies_under_the_load(options):
    with odd_servers.Dying(after=0.2) as server:
        outcome = measure_until(server.address, lambda: server.died, "-c", 4, *options)
    assert outcome.status == 1 and sum(outcome.errors.values()) >= 4
    assert outcome.report["opened"] > 0
