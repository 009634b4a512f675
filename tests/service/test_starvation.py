"""A pool that stays saturated is told in the log: since when, and who holds it."""

import time

import pytest

from clients import Client, dial
from harness import again_when_late, check_time, seconds

FULL = {"pool.workers": 2, "pool.worker_connections": 1, "timeouts.idle_when_full": 0}
SATURATED = r"^warning: the pool has been saturated for (\d+\.\d) s: (.*)$"
OVER = r"^info: the pool is no longer saturated, after (\d+\.\d) s$"


@again_when_late
@pytest.mark.parametrize("peers, holder", [(True, "; 127.0.0.2 holds 2 of 2"), (False, "")])
def test_it_is_told_within_two_seconds_with_who_holds_it_and_when_it_is_over(start, peers, holder):
    # All are of one address: none makes room for another.
    server = start({**FULL, "admin.peers": peers})
    held = [server.hold(Client(dial(server.address, seconds(20), "127.0.0.2"))) for _ in range(2)]
    for client in held:
        client.echo()
    begin = time.monotonic()
    waiting = server.hold(Client(dial(server.address, seconds(20), "127.0.0.2")))
    told, = server.log.wait(SATURATED)
    check_time(time.monotonic() - begin, seconds(2))
    assert 1.0 <= float(told[1]) and told[2] == f"1 waits, no worker has room{holder}"
    held[0].close()
    waiting.echo()
    over, = server.log.wait(OVER)
    assert float(over[1]) >= float(told[1])


def test_a_rush_is_not_told_and_a_pair_of_lines_comes_once_in_ten_seconds(start):
    server = start(FULL)
    for _ in range(3):
        held = [server.connect() for _ in range(2)]
        for client in held:
            client.echo()
        waiting = server.connect()
        server.figures()
        held[0].close()
        waiting.echo()
        held[1].close()
        waiting.close()
    assert not server.log.matching(SATURATED)
    told = []
    for _ in range(2):
        held = [server.connect() for _ in range(3)]
        if not told:
            server.log.wait(SATURATED)
            told.append(time.monotonic())
            for client in held:
                client.close()
            server.log.wait(OVER)
    server.log.wait(SATURATED, count=2)
    assert time.monotonic() - told[0] >= 9
