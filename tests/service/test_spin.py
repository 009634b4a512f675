"""A worker looks again before it sleeps, while that pays: pool.spin_us."""

import pytest

from common import cpu_quota
from harness import wait_for
from test_admin import ADMIN, needs_endpoint, value  # noqa: F401: the fixture is for all
from test_cpu_quota import with_quota  # noqa: F401

# It needs 64 waits to try, and pays from the fourth try on.
ECHOES = 500


def polled_s(server):
    return value(server, "echopool_worker_polled_seconds_total", worker="0")


def echo(client):
    for _ in range(ECHOES):
        client.echo()


@pytest.mark.skipif(cpu_quota.read(), reason="needs CPUs without a quota")
def test_it_polls_for_a_client_that_answers_at_once_until_a_reload_says_never(start):
    server = start({"pool.workers": 1, **ADMIN})
    client = server.connect()
    wait_for(lambda: echo(client) or polled_s(server) > 0)
    server.reload({"pool.workers": 1, "pool.spin_us": 0, **ADMIN})
    client.echo()
    before = polled_s(server)
    echo(client)
    assert polled_s(server) == before


def test_it_does_not_under_a_quota(with_quota, start):  # noqa: F811
    server = start({"pool.workers": 1, **ADMIN}, wrapper=with_quota(1.5))
    echo(server.connect())
    assert polled_s(server) == 0
