"""Who brings another client gets the same latencies: one of twenty lines, and redis-benchmark.

In turns, on a server that takes 4 ms for a message and 16 ms for each thirtieth: so p99 lies in the
middle of those, and not at the longest of all, which is the machine's.
"""

import csv
import statistics
import subprocess
import time

import pytest

from clients import dial
from echoload import measure_well, needs_echoload
from harness import needs_plain_build, seconds
from live import needs_program
from odd_servers import Uneven

pytestmark = [pytest.mark.alone, needs_plain_build, needs_echoload]

SERVER = {"delay_s": 0.004, "times": 4, "every": 30}
MESSAGES = 300
LEAST_ROUNDS, MOST_ROUNDS = 3, 20
P50_SHARE, P99_SHARE = 0.03, 0.10


def by_echoload(address):
    found = measure_well(address, "-c", 1, "-s", 32, duration=1.3)["latency_us"]
    return found["p50"], found["p99"]


def by_twenty_lines(address):
    """One message after the other; nothing of the load generator's is used."""
    took_us = []
    with dial(address, seconds(30)) as sock:
        for number in range(MESSAGES):
            message = b"%032d" % number
            begin = time.perf_counter_ns()
            sock.sendall(message)
            answer = b""
            while len(answer) < len(message):
                part = sock.recv(len(message) - len(answer))
                assert part, "the server closed"
                answer += part
            took_us.append((time.perf_counter_ns() - begin) / 1000)
            assert answer == message
    took_us.sort()
    return took_us[len(took_us) // 2], took_us[len(took_us) * 99 // 100]


def by_redis_benchmark(address):
    """Its request, sent back, is a reply that it takes."""
    host, port = address
    done = subprocess.run(
        [needs_program("redis-benchmark"), "-h", host, "-p", str(port), "-c", "1", "-n",
         str(MESSAGES), "--csv", "--precision", "3", "PING"],
        capture_output=True, text=True, timeout=seconds(60), check=True)
    row, = csv.DictReader(line for line in done.stdout.splitlines() if line.startswith('"'))
    return 1000 * float(row["p50_latency_ms"]), 1000 * float(row["p99_latency_ms"])


def agree(ours, theirs):
    """Whether the medians of both figures of all rounds so far are close."""
    (p50, p99), (other_p50, other_p99) = [
        [statistics.median(figures) for figures in zip(*rounds)] for rounds in (ours, theirs)]
    return (abs(p50 / other_p50 - 1) <= P50_SHARE and abs(p99 / other_p99 - 1) <= P99_SHARE)


@pytest.mark.parametrize("other", [by_twenty_lines, by_redis_benchmark])
def test_another_client_sees_the_same_latencies(other):
    """More rounds where the machine is busy: its noise goes, a difference between them stays."""
    with Uneven(**SERVER) as server:
        ours, theirs = [], []
        while len(ours) < LEAST_ROUNDS or not agree(ours, theirs):
            assert len(ours) < MOST_ROUNDS, (ours, theirs)
            ours.append(by_echoload(server.address))
            theirs.append(other(server.address))
    assert statistics.median(p50 for p50, _ in ours) >= 4000
    assert statistics.median(p99 for _, p99 in ours) >= 16000
