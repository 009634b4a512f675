"""Live resize: the pool grows and shrinks under clients, and none of them notices."""

import contextlib
import os
import random
import resource
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from clients import Client, Crowd
from harness import (UNIQUE, UNUSED_USER, again_when_late, before, check_time, exec_wrapper,
                     needs_root, seconds, span, wait_for)
from live import is_closed, threads_beside_workers
from load import Load
from talkers import Talkers

TEXTBOOK = {"pool.worker_connections": 1, "timeouts.idle_when_full": 0}
MIB = 1 << 20
SPARE = 3  # of the 6 threads that the pool is to grow by


def resize(server, settings, workers):
    """Reloads with so many workers and expects exactly that many threads; returns the seconds."""
    beside = threads_beside_workers(server)
    begin = time.monotonic()
    server.reload(settings | {"pool.workers": workers})
    took = time.monotonic() - begin
    assert server.limits["workers"] == workers
    # One that was joined may be there for a moment yet, with nothing left to do.
    wait_for(lambda: server.threads() == beside + workers, what="the thread count")
    return took


def held(server):
    """What each worker holds; what was handed over counts once its new worker has fetched it."""
    return [worker["connections"] for worker in server.figures()[0]]


def wait_held(server, count):
    wait_for(lambda: server.connections() >= count)
    assert server.connections() == count


def different_sizes(first, count, seed):
    """A random sequence of pool sizes from 1 to 8, each another than the one before."""
    sizes, choice = [first], random.Random(seed)
    while len(sizes) <= count:
        sizes.append(choice.choice([size for size in range(1, 9) if size != sizes[-1]]))
    return sizes[1:]


@again_when_late
def test_30_random_resizes_under_100_clients_with_random_messages(start):
    server = start({"pool.workers": 4})
    descriptors, times = len(server.descriptors()), []
    with Talkers(server.address, 100) as talkers:
        for workers in different_sizes(4, 30, seed=3):
            times.append(resize(server, {}, workers))
            talkers.wait_messages(50)
        resize(server, {}, 4)
        wait_held(server, 100)
        assert len(server.descriptors()) == descriptors + 100
    server.assert_idle()
    check_time(max(times), seconds(1))


def full_queue(server):
    """Waits until there are as many in the queue as it holds, and more."""
    wait_for(lambda: server.figures()[1]["waiting"] >= server.limits["queue_limit"])


@pytest.mark.parametrize("pools", [[(8, 10), (1, 80), (8, 10)], [(1, 80), (8, 10), (1, 80)]])
def test_a_full_server_takes_nobody_more_when_it_is_resized(start, pools):
    """The room of those that are handed over is not for those that wait."""
    def settings(pool):
        return {"timeouts.idle_when_full": 0, "timeouts.queue": 0, "pool.queue_limit": 50,
                "pool.workers": pool[0], "pool.worker_connections": pool[1]}

    server = start(settings(pools[0]))
    served = server.hold(Crowd(server.address, 80))
    served.exchange()
    crowd = server.hold(Crowd(server.address, 70))
    full_queue(server)
    for pool in pools[1:]:
        server.reload(settings(pool))
        wait_held(server, 80)
        served.exchange()
        wait_held(server, 80)
        assert server.figures()[1]["waiting"] == 50
    served.close()
    crowd.exchange()


@again_when_late
def test_the_silent_ones_above_a_lowered_limit_go_when_others_wait(start):
    settings = {"pool.worker_connections": 10, "timeouts.idle_when_full": span(0.3)}
    server = start(settings | {"pool.workers": 4})
    silent = server.hold(Crowd(server.address, 40))
    silent.exchange()
    check_time(resize(server, settings, 1), seconds(1))
    assert not silent.any_closed(within=span(0.4))
    newcomer = server.connect()
    newcomer.echo()
    silent.wait_closed(31)
    wait_held(server, 10)


@pytest.mark.parametrize("sizes", [(8, 1), (1, 8)])
def test_resizing_a_full_server_leaves_descriptors_for_the_next_reload(start, sizes):
    settings = {"pool.worker_connections": 100_000, "pool.queue_limit": 100_000,
                "timeouts.idle_when_full": 0, "timeouts.queue": 0}
    server = start(settings | {"pool.workers": sizes[0]},
                   wrapper=exec_wrapper("import resource as r; "
                                        "r.setrlimit(r.RLIMIT_NOFILE, (400, 400))"))
    server.hold(Crowd(server.address, 600))
    full_queue(server)
    for _ in range(3):
        lines = server.reload(settings | {"pool.workers": sizes[1]})
        assert not [line for line in lines if line.startswith("error")], lines
        assert server.limits["workers"] == sizes[1]
        full_queue(server)
    assert not server.log.matching("oo many open files")


def test_clients_that_come_go_and_reset_during_resizes(start):
    settings = {"limits.connections_per_ip": 200}
    server = start({"pool.workers": 2, **settings})
    load = server.hold(Load(server.address))
    for workers in different_sizes(2, 20, seed=4):
        storm = Crowd(server.address, 30)
        for sock in storm.sockets.values():
            sock.send(b"never read")
        server.configure(settings | {"pool.workers": workers})
        mark = server.log.mark()
        server.send_signal(signal.SIGHUP)
        storm.reset()
        server.log.wait("ready on ", start=mark)
    server.reload(settings | {"pool.workers": 2})
    load.wait_round()
    load.finish()
    wait_for(lambda: server.connections() == 0)
    # Nobody is counted twice or for ever: the limit admits as many as it says.
    everyone = server.hold(Crowd(server.address, 200))
    everyone.exchange()
    assert is_closed(server.connect(), within=seconds(20))
    server.assert_idle()


def test_figures_of_workers_that_left_are_kept(start):
    settings = {"pool.worker_connections": 15, "timeouts.idle_when_full": 0}
    server = start({"pool.workers": 4, **settings})
    assert server.left_figures() is None
    gone = Crowd(server.address, 40)
    gone.exchange(gone.messages(size=160))
    stay = server.hold(Crowd(server.address, 20))
    stay.exchange(stay.messages(size=320))
    assert held(server) == [15] * 4
    gone.reset()
    wait_for(lambda: server.connections() == 20)
    for workers, left in ((2, 2), (3, 2), (1, 4)):
        resize(server, settings, workers)
        assert server.left_figures()["workers"] == left
    stay.exchange(stay.messages(size=640))
    # The last answer may be here before it is counted.
    wait_for(lambda: all_is_sent(server.figures()[0][0]))
    [stays], queue = server.figures()
    past = server.left_figures()
    assert past["taken"] == 45 and past["handed_out"] >= 5
    assert (past["taken"] + past["handed_in"]
            == past["closed"] + past["handed_out"] + past["rebalanced"])
    total = {key: past[key] + stays[key] for key in past if key in stays}
    echoed = 40 * 160 + 20 * 320 + 20 * 640
    assert (total["received_bytes"], total["sent_bytes"]) == (echoed, echoed)
    assert (total["taken"], total["closed"], total["reset"]) == (60, 40, 40)
    assert total["handed_in"] == past["handed_out"] + total["rebalanced"]
    assert queue["accepted"] == 60 and stays["connections"] == 20


def all_is_sent(worker):
    return worker["sent_bytes"] == worker["received_bytes"]


def greedy_one(server, half_closed):
    """Has a client send all it can and read nothing; returns a function that reads all of it."""
    data = os.urandom(MIB)
    crowd = server.hold(Crowd(server.address, 1))
    [count] = crowd.fill(data, quiet=0.1).values()
    [sock] = crowd.sockets.values()
    sock.settimeout(seconds(20))
    if half_closed:
        sock.shutdown(socket.SHUT_WR)

    def read_all():
        client = Client(sock)
        assert client.receive(count) == (data * (count // MIB + 1))[:count]
        if half_closed:
            client.expect_eof()
        else:
            client.echo()
        client.close()

    return read_all


def test_8_to_1_with_a_thread_for_each_client_whatever_the_clients_do(start):
    server = start({"pool.workers": 8, **TEXTBOOK})
    never_spoke, silent = server.connect(), server.connect()
    silent.echo()
    reads_late, reads_late_half_closed = greedy_one(server, False), greedy_one(server, True)
    read_half = server.connect()
    read_half.send(b"0123456789")
    read_half.receive(5)
    with Talkers(server.address, 3):
        wait_for(lambda: held(server) == [1] * 8)
        resize(server, TEXTBOOK, 1)
        wait_held(server, 8)
        server.assert_idle(share=0.5, interval=0.2)
        newcomer = server.connect()
        newcomer.send(b"patient")
        never_spoke.echo()
        silent.echo()
        assert read_half.receive(5) == b"56789"
        reads_late()
        reads_late_half_closed()
        wait_for(lambda: held(server) == [6])
        assert not newcomer.hears(within=0)
    for client in (never_spoke, silent):
        client.close()
    wait_for(lambda: held(server) == [1])
    server.assert_idle(interval=0.3)
    assert not newcomer.hears(within=0)
    read_half.close()
    assert newcomer.receive(7) == b"patient"
    resize(server, TEXTBOOK, 8)


def test_what_is_pending_is_handed_over(start):
    server = start({"pool.workers": 4})
    data = os.urandom(MIB)
    crowd = server.hold(Crowd(server.address, 40))
    sent = server.make_pending(crowd, data)
    for workers in (1, 3, 2):
        resize(server, {}, workers)
        server.assert_idle(interval=0.2)
    for fd, sock in crowd.sockets.items():
        sock.settimeout(seconds(20))
        sock.shutdown(socket.SHUT_WR)
        client = Client(sock)
        assert client.receive(sent[fd]) == (data * (sent[fd] // MIB + 1))[:sent[fd]]
        client.expect_eof()
    resize(server, {}, 4)


@again_when_late
def test_handing_over_restarts_the_clock_of_those_who_are_silent_only(start):
    settings = {"timeouts.idle": 1.0, "timeouts.write": 1.0, "timeouts.idle_when_full": 0,
                "log.connections": True}
    server = start({"pool.workers": 4, **settings})
    greedy = server.hold(Crowd(server.address, 4))
    with before(time.monotonic() + 1):
        server.make_pending(greedy, b"x" * 65536, quiet=0.1)
    silent = server.hold(Crowd(server.address, 20))
    silent.exchange()
    begin = time.monotonic()
    for workers in (3, 2, 1):
        time.sleep(0.25)
        resize(server, settings, workers)
    resized = time.monotonic() - begin
    # Those who never read began before the first resize.
    server.log.wait("reason=write-timeout$", count=4)
    took_writing = time.monotonic() - begin
    silent.wait_closed(20)
    took = time.monotonic() - begin
    server.log.wait("reason=idle$", count=20)
    server.reload(settings | {"pool.workers": 4})
    assert took >= 0.9
    check_time(took_writing, max(1, resized) + seconds(0.4))
    # Each silent one had its time from its last hand-over.
    check_time(took, resized + 1 + seconds(0.4))


@again_when_late
def test_a_pool_that_grows_takes_those_who_wait_at_once(start):
    server = start({"pool.workers": 1, **TEXTBOOK})
    server.connect().echo()
    waiting = server.hold(Crowd(server.address, 7))
    wait_for(lambda: server.figures()[1]["waiting"] == 7)
    resize(server, TEXTBOOK, 8)
    begin = time.monotonic()
    waiting.exchange()
    took = time.monotonic() - begin
    assert held(server) == [1] * 8
    server.assert_idle(interval=0.3)
    check_time(took, seconds(0.5))


def test_worker_connections_lowered_binds_only_what_comes_after(start):
    wide = {"pool.workers": 2, "pool.worker_connections": 10, "timeouts.idle_when_full": 0}
    narrow = wide | {"pool.worker_connections": 4}
    server = start(wide)
    early = server.hold(Crowd(server.address, 20))
    early.exchange()
    server.reload(narrow)
    assert server.limits["worker_connections"] == 4
    late = server.connect()
    late.send(b"late")
    early.exchange()
    assert held(server) == [10, 10]
    for _ in range(12):
        early.sockets.popitem()[1].close()
    wait_for(lambda: server.connections() <= 9)
    early.exchange()
    if not late.hears(within=0):  # those who left may all have been of one worker
        for _ in range(8):
            early.sockets.popitem()[1].close()
    assert late.receive(4) == b"late"
    server.assert_idle(interval=0.3)


@again_when_late
def test_worker_connections_raised_takes_those_who_wait_at_once(start):
    narrow = {"pool.workers": 2, **TEXTBOOK}
    server = start(narrow)
    crowd = server.hold(Crowd(server.address, 20))
    wait_for(lambda: server.figures()[1]["waiting"] == 18)
    server.reload(narrow | {"pool.worker_connections": 10})
    begin = time.monotonic()
    crowd.exchange()
    took = time.monotonic() - begin
    assert held(server) == [10, 10]
    server.assert_idle(interval=0.3)
    check_time(took, seconds(0.5))


def test_fewer_workers_for_more_connections_each_have_room_all_the_time(start):
    """Nobody who is silent goes for the newcomers, though a worker takes over more than it had."""
    many = {"pool.workers": 4, "pool.worker_connections": 200, "timeouts.idle_when_full": 0.001}
    few = many | {"pool.workers": 1, "pool.worker_connections": 1000}
    server = start(many)
    silent = server.hold(Crowd(server.address, 600))
    silent.exchange()
    load = server.hold(Load(server.address, steady=1, passing=20))
    for _ in range(5):
        server.reload(few)
        load.wait_round()
        server.reload(many)
        load.wait_round()
    load.finish()
    workers, _ = server.figures()
    ends = sum(figures["idle_when_full"] for figures in [*workers, server.left_figures()])
    assert ends == 0
    silent.exchange()


class FewProcesses:
    """RLIMIT_NPROC, which counts the threads of a user, and another program with most of them."""

    LIMIT = 16
    # The file's directory may be closed to others: it is the current one when that begins.
    wrapper = exec_wrapper(
        "import resource as r\n"
        "directory, sys.argv[-1] = os.path.split(sys.argv[-1])\n"
        "program, sys.argv[1:2] = os.open(sys.argv[1], os.O_RDONLY), []\n"
        "os.chdir(directory)\n"
        f"r.setrlimit(r.RLIMIT_NPROC, ({LIMIT}, {LIMIT}))\n"
        f"os.setgroups([]); os.setgid({UNUSED_USER}); os.setuid({UNUSED_USER})\n"
        "os.execve(program, ['echopool', *sys.argv[1:]], os.environ)")
    OTHERS = ("import sys, threading\n"
              "for _ in range(int(sys.argv[1])):\n"
              "    threading.Thread(target=sys.stdin.read, daemon=True).start()\n"
              "print(flush=True)\n"
              "sys.stdin.read()")

    def __init__(self):
        self.others = None

    def begin(self, server):
        count = self.LIMIT - server.threads() - SPARE - 1
        self.others = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", self.OTHERS, str(count)], cwd="/",
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, user=UNUSED_USER, group=UNUSED_USER)
        self.others.stdout.readline()

    def end(self, _):
        self.remove()

    def remove(self):
        if self.others:
            self.others.kill()
            self.others.communicate()


class PidsCgroup:
    """A pids cgroup, version 1 or 2."""

    wrapper = ()

    def __init__(self):
        pids = Path("/sys/fs/cgroup/pids")
        self.group = (pids if pids.is_dir() else pids.parent) / f"echopool-test-{UNIQUE}"
        try:
            self.group.mkdir()
        except OSError as error:
            pytest.skip(f"needs a cgroup: {error}")
        if not (self.group / "pids.max").exists():
            self.remove()
            pytest.skip("needs a cgroup: pids is not there")

    def begin(self, server):
        (self.group / "cgroup.procs").write_text(str(server.pid), encoding="ascii")
        (self.group / "pids.max").write_text(str(server.threads() + SPARE), encoding="ascii")

    def end(self, _):
        (self.group / "pids.max").write_text("max", encoding="ascii")

    def remove(self):
        self.group.rmdir()


class FewDescriptors:
    """A hard descriptor limit of which clients hold all but a few."""

    wrapper = ()
    LIMIT = 100

    def __init__(self):
        self.crowd = None

    def begin(self, server):
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (self.LIMIT, self.LIMIT))
        self.crowd = server.hold(Crowd(server.address, self.LIMIT - 6 - len(server.descriptors())))
        self.crowd.exchange()

    def end(self, server):
        self.crowd.exchange()
        self.crowd.close()
        wait_for(lambda: server.connections() == 3)


@pytest.fixture(params=[FewProcesses, PidsCgroup, FewDescriptors])
def shortage(request):
    made = request.param()
    yield made
    with contextlib.suppress(AttributeError):
        made.remove()


@needs_root
def test_a_growth_that_fails_half_way_is_rolled_back_and_told(shortage, start):
    server = start({"pool.workers": 2}, wrapper=shortage.wrapper)
    clients = [server.connect() for _ in range(3)]
    for client in clients:
        client.echo()
    shortage.begin(server)
    threads, descriptors = server.threads(), server.descriptors()
    limits = server.limits
    wanted = {"pool.workers": 8, "limits.connections_per_ip": 1}
    lines = server.reload(wanted)
    assert [line for line in lines if line.startswith("error: cannot start worker ")], lines
    assert "error: reload: the settings stay as they are" in lines
    wait_for(lambda: server.threads() == threads, what="the thread count")
    assert server.limits == limits
    assert server.descriptors() == descriptors
    for client in [*clients, server.connect()]:
        client.echo()
    server.clients.pop().close()
    server.assert_idle(interval=0.3)
    shortage.end(server)
    resize(server, {}, 8)
    for client in clients:
        client.echo()
    server.reload({"pool.workers": 2})
