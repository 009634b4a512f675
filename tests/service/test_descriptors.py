"""Few descriptors: the limit is divided and told, and running out costs no CPU."""

import re
import resource
import time

import pytest

from clients import Crowd
from harness import (again_when_late, check_time, error_lines, exec_wrapper, run_program, seconds,
                     wait_for)
from live import limited_to


@pytest.mark.parametrize("queue_full", ["wait", "reject"])
def test_64_descriptors_are_divided_told_and_kept(start, queue_full):
    server = start({"pool.workers": 2, "pool.queue_full": queue_full,
                    "timeouts.idle_when_full": 0}, wrapper=limited_to(64))
    each, queue_limit = server.limits["worker_connections"], server.limits["queue_limit"]
    assert each >= 1 and queue_limit >= 1
    [told] = server.log.matching("^warning: .*descriptor")
    for number in (64, each, queue_limit):
        assert re.search(rf"\b{number}\b", told), told
    served = serve_one_by_one(server, 2 * each)
    server.hold(Crowd(server.address, 120 - 2 * each))
    wait_for(lambda: server.figures()[1]["waiting"] == queue_limit)
    mark = server.log.mark()
    server.assert_idle(share=0.1, interval=2.0)
    for client in served:
        client.echo()
    assert len(server.descriptors()) <= 64
    assert len(server.log.matching("", mark)) <= 20
    server.close_clients()
    wait_for(lambda: server.connections() == 0)
    serve_one_by_one(server, 2 * each)


def serve_one_by_one(server, count):
    """So many clients, each echoed before the next one comes: none has to wait in the queue."""
    clients = []
    for _ in range(count):
        clients.append(server.connect())
        clients[-1].echo()
    return clients


def test_the_share_of_the_queue_is_at_most_a_quarter(start):
    server = start({"pool.workers": 1}, wrapper=limited_to(200))
    assert 0 < server.limits["queue_limit"] <= 50
    assert server.limits["worker_connections"] >= 3 * server.limits["queue_limit"] - 3


def test_a_limit_that_suffices_is_not_mentioned(start):
    server = start({"pool.workers": 2, "pool.worker_connections": 10, "pool.queue_limit": 10},
                   wrapper=limited_to(128))
    assert not server.log.matching("descriptor")
    assert server.limits["worker_connections"] == server.limits["queue_limit"] == 10


def test_inherited_descriptors_are_counted(start):
    """What is left of 300 when 200 came along is enough: nothing runs out when all is full."""
    inheriting = exec_wrapper("import resource as r; r.setrlimit(r.RLIMIT_NOFILE, (300, 300))\n"
                              "null = os.open('/dev/null', os.O_RDONLY)\n"
                              "for i in range(200): os.set_inheritable(os.dup(null), True)")
    server = start({"pool.workers": 2, "timeouts.idle_when_full": 0, "log.level": "debug"},
                   wrapper=inheriting)
    assert len(server.descriptors()) > 200
    each, queue_limit = server.limits["worker_connections"], server.limits["queue_limit"]
    serve_one_by_one(server, 2 * each)
    server.hold(Crowd(server.address, queue_limit + 5))
    wait_for(lambda: server.figures()[1]["waiting"] == queue_limit)
    assert not server.log.matching("oo many open files")


def test_12_descriptors_are_too_few_and_it_says_so():
    result = run_program("-o", "listen.port=0", "-o", "pool.workers=2", wrapper=limited_to(12))
    assert result.returncode == 1
    [line] = [line for line in error_lines(result) if line.startswith("error:")]
    assert "descriptor" in line and re.search(r"\b12\b", line)


def test_running_out_of_descriptors_pauses_and_recovers(start):
    server = start({"pool.workers": 1})
    served = server.hold(Crowd(server.address, 20))
    served.exchange()
    limits = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (len(server.descriptors()), limits[1]))
    mark = server.log.mark()
    late = server.hold(Crowd(server.address, 30))
    server.log.wait("^(warning|error): .*oo many open files", start=mark)
    server.assert_idle(interval=2.0)
    assert 1 <= len(server.log.matching("oo many open files", mark)) <= 20
    served.exchange()
    resource.prlimit(server.pid, resource.RLIMIT_NOFILE, limits)
    late.exchange()


@again_when_late
def test_running_out_of_descriptors_does_not_hold_up_the_stop(start):
    server = start({"pool.workers": 1})
    hard = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)[1]
    resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (len(server.descriptors()), hard))
    server.hold(Crowd(server.address, 5))
    server.log.wait("oo many open files")
    check_time(server.stop(), seconds(2))


@again_when_late
def test_a_pause_begins_anew_after_a_success(start):
    server = start({"pool.workers": 1, "log.level": "debug"})
    hard = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)[1]

    def run_out():
        """Returns where in the log the first failure is looked for."""
        mark = server.log.mark()
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (len(server.descriptors()), hard))
        server.hold(Crowd(server.address, 1))
        return mark

    failure = "^debug: accept: .*oo many open files"
    # 10 + 20 + ... + 320 ms, and then it is in a pause of 640 ms.
    server.log.wait(failure, count=7, start=run_out())
    resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (hard, hard))
    wait_for(lambda: server.connections() == 1)
    mark = run_out()
    server.log.wait(failure, start=mark)
    begin = time.monotonic()
    server.log.wait(failure, count=4, start=mark)
    took = time.monotonic() - begin
    resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (hard, hard))
    wait_for(lambda: server.connections() == 2)
    # 10 + 20 + 40 ms; had the pauses only gone on growing, three seconds.
    check_time(took, 1.5)
