"""Short of descriptors, memory or processes: bounded CPU and log, and back to normal afterwards."""

import contextlib
import resource
import time
from pathlib import Path

import pytest

from clients import Crowd
from harness import (UNUSED_USER, again_when_late, check_time, error_lines, exec_wrapper,
                     needs_plain_build, needs_root, run_program, seconds, wait_for)
from live import client_from, limited_to

SIXTEEN = [f"127.0.0.{i}" for i in range(1, 17)]


def address_space(server):
    """The bytes that the program has mapped."""
    pages = Path(f"/proc/{server.pid}/statm").read_text(encoding="ascii").split()[0]
    return int(pages) * resource.getpagesize()


@contextlib.contextmanager
def no_more(server, limit):
    """Takes the resource away from the running program: nothing beyond what it holds now."""
    held = {resource.RLIMIT_NOFILE: lambda: len(server.descriptors()),
            resource.RLIMIT_AS: lambda: address_space(server)}
    soft, hard = resource.prlimit(server.pid, limit)
    resource.prlimit(server.pid, limit, (held[limit](), hard))
    try:
        yield
    finally:
        if server.process.poll() is None:
            resource.prlimit(server.pid, limit, (soft, hard))


def assert_calm(server, mark, interval=2.0):
    """At most a tenth of a CPU from now on, and since mark at most 20 log lines but for figures."""
    server.assert_idle(share=0.1, interval=interval)
    assert len(server.log.matching("^(?!info: (worker=|queue |reload ))", mark)) <= 20


@pytest.mark.parametrize("queue_full", ["wait", "reject"])
def test_64_descriptors_and_120_clients_that_all_want_something(start, queue_full):
    server = start({"pool.workers": 2, "pool.queue_full": queue_full, "timeouts.idle_when_full": 0},
                   wrapper=limited_to(64))
    mark = server.log.mark()
    served = []
    for _ in range(2 * server.limits["worker_connections"]):
        served.append(server.connect())
        served[-1].echo()
    crowd = server.hold(Crowd(server.address, 120 - len(served)))
    if queue_full == "reject":
        crowd.wait_closed(len(crowd.sockets) - server.limits["queue_limit"])
    for sock in crowd.sockets.values():
        sock.send(b"my turn")
    wait_for(lambda: server.figures()[1]["waiting"] == server.limits["queue_limit"])
    assert_calm(server, mark)
    for client in served:
        client.echo()
        client.close()
    while crowd.sockets:
        for sock in crowd.next_answered():
            assert sock.recv(100) == b"my turn"
            sock.close()
    server.connect().echo()


@pytest.mark.parametrize("queue_full", ["wait", "reject"])
def test_out_of_descriptors_from_outside_it_calms_down_and_recovers(start, queue_full):
    server = start({"pool.workers": 2, "pool.queue_full": queue_full})
    neighbour = server.connect()
    neighbour.echo()
    for _ in range(2):
        failed, begin = server.figures()[1]["failed"], time.monotonic()
        with no_more(server, resource.RLIMIT_NOFILE):
            mark = server.log.mark()
            late = server.hold(Crowd(server.address, 30))
            server.log.wait("^warning: .*oo many open files", start=mark)
            assert_calm(server, mark, interval=1.0)
            neighbour.echo()
        late.exchange()
        took = time.monotonic() - begin
        server.assert_idle(interval=0.3)
        # Pauses that grow are few: eight until they are a second long. And a success lets them
        # begin anew with a short one.
        assert 4 <= server.figures()[1]["failed"] - failed <= 10 + took


def test_clients_that_leave_make_room_for_those_who_could_not_be_accepted(start):
    server = start({"pool.workers": 1})
    served = server.hold(Crowd(server.address, 30))
    served.exchange()
    with no_more(server, resource.RLIMIT_NOFILE):
        late = server.hold(Crowd(server.address, 30))
        server.log.wait("oo many open files")
        served.close()
        late.exchange()
        server.assert_idle(share=0.1, interval=0.5)


@again_when_late
def test_out_of_descriptors_a_stop_waits_for_no_pause(start):
    """Sixteen listeners, from each of which the stop takes what is left."""
    server = start({"listen.addresses": SIXTEEN, "timeouts.drain": 0.5})
    server.connect().echo()
    with no_more(server, resource.RLIMIT_NOFILE):
        check_time(server.stop(), seconds(1.5))


@again_when_late
def test_out_of_descriptors_the_queue_timeout_waits_for_no_pause(start):
    """The pauses have grown to a second when it comes; and who goes makes room for others."""
    server = start({"pool.workers": 1, "pool.worker_connections": 1, "timeouts.idle_when_full": 0,
                    "timeouts.queue": 2.5})
    server.connect().echo()
    begin = time.monotonic()
    waiting = server.hold(Crowd(server.address, 3))
    wait_for(lambda: server.figures()[1]["waiting"] == 3)
    with no_more(server, resource.RLIMIT_NOFILE):
        server.hold(Crowd(server.address, 3))
        waiting.wait_closed(3)
        took = time.monotonic() - begin
        wait_for(lambda: server.figures()[1]["waiting"] == 3)
        refilled = time.monotonic() - begin - took
    assert took > 2.4
    check_time(took, 2.5 + seconds(0.4))
    check_time(refilled, seconds(0.5))


def test_out_of_descriptors_a_stop_tells_of_those_whom_it_resets(start):
    server = start({"listen.addresses": SIXTEEN[:3], "timeouts.drain": 0.5})
    with no_more(server, resource.RLIMIT_NOFILE):
        mark = server.log.mark()
        late = server.hold(Crowd(server.addresses[1], 3))
        server.log.wait("oo many open files", start=mark)
        server.stop()
    late.wait_closed(3)
    host, port = server.addresses[1]
    [line] = server.log.matching("^warning: accept: .* are reset")
    assert f" {host}:{port} " in line and "descriptor" in line


def test_out_of_descriptors_a_reload_is_refused_and_nothing_changes(start):
    server = start({"pool.workers": 2})
    clients = server.hold(Crowd(server.address, 10))
    clients.exchange()
    with no_more(server, resource.RLIMIT_NOFILE):
        lines = server.reload({"pool.workers": 4, "access.deny": ["127.0.0.0/8"]})
        assert any(line.startswith("error: ") and "oo many open files" in line for line in lines)
        assert any("the settings stay as they are" in line for line in lines)
        assert server.limits["workers"] == 2
        clients.exchange()
    client_from(server, "127.0.0.2").echo()
    server.reload({"pool.workers": 4})
    assert server.limits["workers"] == 4
    server.reload({"pool.workers": 2})


@needs_plain_build
def test_out_of_memory_ends_only_those_who_need_some(start):
    """Much that is pending needs a buffer of that size; others go on with what there is."""
    server = start({"pool.workers": 1, "limits.buffer_bytes": 16 << 20, "log.connections": True},
                   env={"MALLOC_ARENA_MAX": "1"})  # another arena is mapped before it is used
    neighbours = [server.connect() for _ in range(5)]
    for client in neighbours:
        client.echo()
    with no_more(server, resource.RLIMIT_AS):
        greedy = server.hold(Crowd(server.address, 5))
        with contextlib.suppress(ConnectionError):
            greedy.fill(b"x" * (1 << 20), quiet=0.1)
        server.log.wait("reason=error error=\"Cannot allocate memory\"", count=1)
        for client in neighbours:
            client.echo()
        lines = server.reload({"pool.workers": 4})
        assert any(line.startswith("error: ") for line in lines)
        assert server.limits["workers"] == 1
        for client in neighbours:
            client.echo()
        server.assert_idle(interval=0.3)
    server.connect().echo()
    assert sum(worker["error"] for worker in server.figures()[0]) > 0


FEW_PROCESSES = exec_wrapper(
    "import resource as r\n"
    "program, sys.argv[1:2] = os.open(sys.argv[1], os.O_RDONLY), []\n"
    "r.setrlimit(r.RLIMIT_NPROC, (4, 4))\n"
    f"os.setgroups([]); os.setgid({UNUSED_USER}); os.setuid({UNUSED_USER})\n"
    "os.execve(program, ['echopool', *sys.argv[1:]], os.environ)")


@needs_root
@needs_plain_build  # a sanitizer has a thread of its own
@again_when_late
def test_too_few_processes_at_start_exit_1_in_one_line():
    begin = time.monotonic()
    result = run_program("-o", "listen.port=0", "-o", "pool.workers=8", wrapper=FEW_PROCESSES,
                         cwd="/")
    assert result.returncode == 1
    [line] = [line for line in error_lines(result) if line.startswith("error:")]
    assert "worker 4 of 8" in line and "emporarily unavailable" in line
    check_time(time.monotonic() - begin, seconds(2))


@needs_root
@needs_plain_build  # a sanitizer has a thread of its own
def test_no_process_to_spare_for_the_acceptor_exits_1_in_one_line():
    result = run_program("-o", "listen.port=0", "-o", "pool.workers=3", wrapper=FEW_PROCESSES,
                         cwd="/")
    assert result.returncode == 1
    [line] = [line for line in error_lines(result) if line.startswith("error:")]
    assert "acceptor" in line and "emporarily unavailable" in line
