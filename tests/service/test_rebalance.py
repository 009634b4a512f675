"""A worker that works much gives active connections to one that has time."""

import time

import pytest

from echoload import interrupted, loading, needs_echoload
from harness import needs_plain_build, wait_for

# A worker that others keep from its CPU does not work much, and gives nothing.
pytestmark = [pytest.mark.alone, needs_plain_build]

SILENT = 8


def rebalanced(server):
    return sum(worker["rebalanced"] for worker in server.figures()[0])


def connect(server):
    """A client that was echoed to, and the number of its worker."""
    taken = [worker["taken"] for worker in server.figures()[0]]
    client = server.connect()
    client.echo()
    now = [worker["taken"] for worker in server.figures()[0]]
    return client, [after - before for after, before in zip(now, taken)].index(1)


def skew(server):
    """Silent clients of two workers, of which one loses its own: who comes now comes to it."""
    for client, worker in [connect(server) for _ in range(SILENT)]:
        if worker == 0:
            client.close()
    wait_for(lambda: server.connections() == SILENT // 2)


def busy_clients(server):
    """Four, which all come to the worker that the others have left; their bytes are checked."""
    return loading(server.address, "-c", 4, "-p", 16)


def growth(server, before):
    """How many bytes each worker has sent since then."""
    return [worker["sent_bytes"] - sent for worker, sent in zip(server.figures()[0], before)]


@needs_echoload
def test_four_busy_clients_of_one_worker_are_served_by_both(start):
    server = start({"pool.workers": 2})
    skew(server)
    with busy_clients(server) as load:
        wait_for(lambda: rebalanced(server) >= 1, timeout=30)
        before = [worker["sent_bytes"] for worker in server.figures()[0]]
        wait_for(lambda: min(growth(server, before)) > 1_000_000)
        assert not interrupted(load).errors
    workers = server.figures()[0]
    assert sum(worker["handed_in"] for worker in workers) == rebalanced(server)
    server.assert_idle()


@needs_echoload
def test_who_comes_anew_comes_to_the_worker_that_works_less(start):
    """Though it holds one more; few enough are no difference."""
    server = start({"pool.workers": 2})
    silent = [connect(server) for _ in range(40)]
    # Who was echoed to in the period in which the load begins would count as active, and be given.
    time.sleep(0.3)
    with loading(server.address, "-c", 1, "-p", 16) as load:
        before = [worker["sent_bytes"] for worker in server.figures()[0]]
        wait_for(lambda: max(growth(server, before)) > 1_000_000)
        busy = int(growth(server, before)[1] > 0)
        for client in [client for client, worker in silent if worker == busy][:2]:
            client.close()
        wait_for(lambda: server.connections() == 39)

        def comes_to_the_other():
            client, worker = connect(server)
            if worker == busy:
                client.close()
                wait_for(lambda: server.connections() == 39)
            return worker != busy

        wait_for(comes_to_the_other, timeout=30)
        assert not interrupted(load).errors


@needs_echoload
def test_a_reload_switches_it(start):
    server = start({"pool.workers": 2, "pool.rebalance": False})
    skew(server)
    with busy_clients(server) as load:
        sent = sum(worker["sent_bytes"] for worker in server.figures()[0])
        wait_for(lambda: sum(worker["sent_bytes"] for worker in server.figures()[0])
                 > sent + 50_000_000, timeout=30)
        assert rebalanced(server) == 0
        server.reload({"pool.workers": 2})
        wait_for(lambda: rebalanced(server) >= 1, timeout=30)
        assert not interrupted(load).errors
