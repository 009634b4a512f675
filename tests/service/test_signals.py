"""Signals that must not end the program, and the figures that SIGUSR1 asks for."""

import os
import re
import select
import signal
import socket
import time

import pytest

from clients import Crowd, need_descriptors
from harness import again_when_late, check_time, exec_wrapper, seconds, wait_for


def test_sighup_does_not_end_it_and_is_answered(start):
    server = start()
    client = server.connect()
    client.echo()
    lines = server.reload()
    assert lines[0] == f"info: SIGHUP: reading {server.file} again"
    client.echo()
    server.connect().echo()


def test_sighup_is_answered_under_nohup_too(start):
    server = start({"pool.workers": 1},
                   wrapper=exec_wrapper("import signal; signal.signal(1, signal.SIG_IGN)"))
    assert server.limits["workers"] == 1
    server.reload({"pool.workers": 2})
    assert server.limits["workers"] == 2


@pytest.mark.parametrize("number", [signal.SIGPIPE, signal.SIGUSR1, signal.SIGHUP])
@again_when_late
def test_a_storm_of_signals_changes_nothing(start, number):
    server = start({"pool.workers": 2})
    client = server.connect()
    for _ in range(1000):
        server.send_signal(number)
        client.echo(b"x")
    server.connect().echo()
    assert server.threads() <= 6
    server.close_clients()
    server.assert_idle()
    check_time(server.stop(), seconds(2))


def test_stopped_and_continued(start):
    server = start()
    client = server.connect()
    client.echo()
    server.suspend()
    client.send(b"while stopped")
    server.send_signal(signal.SIGCONT)
    assert client.receive(13) == b"while stopped"


def test_figures_are_one_line_for_each_worker_and_one_for_the_queue(start):
    server = start({"pool.workers": 3})
    mark = server.log.mark()
    server.figures()
    lines = server.log.matching("", mark)
    assert [line for line in lines if line.startswith("info: queue ")] == [lines[0]]
    assert lines[1] == "info: reload applied=0 refused=0"
    assert [line.split()[1] for line in lines[2:]] == ["worker=0", "worker=1", "worker=2"]
    for key in ("waiting", "accepted", "refused", "rejected", "expired", "failed", "wait_us_p50",
                "wait_us_p99", "wait_us_max"):
        assert f" {key}=" in lines[0]


class SlowReader:
    """The reading end of a log, of which 64 KiB are read every 10 ms."""

    def __init__(self, kind):
        if kind == "pipe":
            self.ours, self.theirs = os.pipe()
        else:
            self.ours, self.theirs = (end.detach() for end in socket.socketpair())
        self.text = ""

    def read(self):
        time.sleep(0.01)
        if select.select([self.ours], [], [], 0)[0]:
            self.text += os.read(self.ours, 65536).decode()

    def read_until(self, pattern):
        deadline = time.monotonic() + seconds(30)
        while not re.search(pattern, self.text, re.MULTILINE):
            assert time.monotonic() < deadline, self.text[-1000:]
            self.read()

    def close(self):
        os.close(self.ours)
        os.close(self.theirs)


@pytest.fixture(params=["pipe", "socket"])
def slow_reader(request):
    need_descriptors(4 * MANY)  # each worker takes two
    reader = SlowReader(request.param)
    yield reader
    reader.close()


MANY = 1024


def test_a_slow_reader_gets_the_figures_of_all_workers_totals_first(launch, slow_reader):
    server = launch({"pool.workers": MANY}, stderr=slow_reader.theirs).wait_listening()
    slow_reader.read_until("ready on ")
    slow_reader.text = ""
    for _ in range(2):  # the second is asked for while the first is told
        server.send_signal(signal.SIGUSR1)
        slow_reader.read_until("^info: reload applied=")
    slow_reader.read_until(f"(?s)worker={MANY - 1} .*worker={MANY - 1} .*\n")
    lines = slow_reader.text.splitlines()
    one = ["queue", "reload"] + [f"worker={i}" for i in range(MANY)]
    assert [line.split()[1] for line in lines] == one * 2


def test_figures_that_nobody_reads_are_lost_and_counted(launch, slow_reader):
    settings = {"pool.workers": MANY, "log.connections": True, "timeouts.drain": 600}
    server = launch(settings, stderr=slow_reader.theirs).wait_listening()
    slow_reader.read_until("ready on ")
    for _ in range(10):
        server.send_signal(signal.SIGUSR1)
        server.connect().echo()
        time.sleep(1.5)  # a second of which it waits for a reader
        for _ in range(20):
            server.connect().echo()
            slow_reader.read()
        if "log lines before this could not be written" in slow_reader.text:
            return
    pytest.fail("no line was lost")


def test_sigterm_is_heard_while_nobody_reads_the_figures(launch, slow_reader):
    server = launch({"pool.workers": MANY, "timeouts.drain": 600},
                    stderr=slow_reader.theirs).wait_listening()
    client = server.connect()
    client.echo()
    server.send_signal(signal.SIGUSR1)
    server.send_signal(signal.SIGTERM)
    wait_for(server.refuses)
    client.echo()
    client.close()
    assert server.wait_exit() == 0


def test_figures_add_up_to_what_the_clients_did(start):
    server = start({"pool.workers": 3})
    assert total(server) == {"connections": 0, "taken": 0, "closed": 0, "received_bytes": 0,
                             "sent_bytes": 0}
    stay = server.hold(Crowd(server.address, 30))
    stay.exchange(stay.messages(size=640))
    gone = Crowd(server.address, 70)
    gone.exchange(gone.messages(size=160))
    gone.close()
    wait_for(lambda: server.connections() == 30)
    echoed = 30 * 640 + 70 * 160
    assert total(server) == {"connections": 30, "taken": 100, "closed": 70,
                             "received_bytes": echoed, "sent_bytes": echoed}
    queue = server.figures()[1]
    assert queue["accepted"] == 100
    assert queue["waiting"] == queue["rejected"] == queue["failed"] == 0


def total(server):
    workers = server.figures()[0]
    return {key: sum(worker[key] for worker in workers)
            for key in ("connections", "taken", "closed", "received_bytes", "sent_bytes")}


def test_bytes_that_are_pending_show_as_a_difference(start):
    server = start({"pool.workers": 1, "limits.buffer_bytes": 4096})
    crowd = server.hold(Crowd(server.address, 1))
    server.make_pending(crowd, os.urandom(65536))
    figures = total(server)
    assert 0 < figures["received_bytes"] - figures["sent_bytes"] <= 4096


def test_figures_are_told_while_every_worker_and_the_queue_are_full(start):
    server = start({"pool.workers": 1, "pool.worker_connections": 1, "pool.queue_limit": 1,
                    "timeouts.idle_when_full": 0})
    server.hold(Crowd(server.address, 20))

    def is_full():
        [worker], queue = server.figures()
        return (worker["connections"], queue["waiting"]) == (1, 1)

    wait_for(is_full)


def test_figures_are_told_during_the_drain(start):
    server = start({"timeouts.drain": 600})
    client = server.connect()
    client.echo()
    server.send_signal(signal.SIGTERM)
    wait_for(server.refuses)
    # What asked whether it refuses may have been served for a moment.
    wait_for(lambda: server.connections() == 1)
    client.close()
    assert server.wait_exit() == 0
