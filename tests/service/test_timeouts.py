"""The timeouts: who is closed, when, with which reason, and above all who is not."""

import os
import signal
import socket
import threading
import time
from pathlib import Path

from clients import Client, Crowd
from harness import again_when_late, before, check_time, seconds, span, wait_for
from live import is_closed

# Nothing is closed but by the timeout that the test sets.
NONE = {"timeouts.idle": 0, "timeouts.idle_when_full": 0, "timeouts.queue": 0,
        "timeouts.write": 0, "log.connections": True}


def ended(server, reason):
    """How many connections the workers have ended for this reason (a key of the figures)."""
    return sum(worker[reason] for worker in server.figures()[0])


def wait_closed_between(crowd, begin, shortest, longest):
    """All of the crowd are closed by the server, none before shortest and after longest seconds."""
    first = begin + shortest - 0.01
    any_closed = crowd.any_closed(within=max(0, first - time.monotonic()))
    # It may have been held up, and see only now what happened later.
    assert not any_closed or time.monotonic() >= first, f"closed before {shortest} s"
    crowd.wait_closed(len(crowd.sockets))
    check_time(time.monotonic() - begin, longest)


def reasons(server, reason, count):
    """Waits for so many lines of closed connections with this reason; there are no more of it."""
    server.log.wait(f"connection closed .* reason={reason}$", count=count)
    assert len(server.log.matching(f"reason={reason}$")) == count


class Slowly(threading.Thread):
    """Clients that do something small now and then; used in a with statement.

    A client that has not acted for limit seconds may be hurt: then this thread was late.
    """

    def __init__(self, clients, act, period, limit):
        super().__init__(daemon=True)
        self.limit = limit
        self.longest = 0
        self.clients = clients
        self.act = act
        self.period = period
        self.failure = None
        self._stop_now = threading.Event()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *exception):
        self._stop_now.set()
        self.join()
        if self.failure:
            check_time(self.longest, self.limit)
        assert not self.failure, f"hurt: {self.failure!r}"

    def run(self):
        last = time.monotonic()
        try:
            while not self._stop_now.wait(self.period):
                for client in self.clients:
                    self.act(client)
                now = time.monotonic()
                self.longest, last = max(self.longest, now - last), now
        except (OSError, AssertionError) as failure:
            self.longest = max(self.longest, time.monotonic() - last)
            self.failure = failure


@again_when_late
def test_silent_clients_go_after_2_to_3_seconds_and_busy_ones_never(start):
    server = start({"pool.workers": 2, **NONE, "timeouts.idle": span(2)})
    busy = [server.connect() for _ in range(10)]
    begin = time.monotonic()
    silent = server.hold(Crowd(server.address, 40))
    for sock in list(silent.sockets.values())[:20]:
        sock.send(b"x")
        sock.setblocking(True)
        assert sock.recv(1) == b"x"
    with Slowly(busy, lambda client: client.echo(b"x"), period=1.0, limit=span(2)):
        wait_closed_between(silent, begin, span(2), span(2) + seconds(1))
        server.assert_idle(interval=0.5)
    reasons(server, "idle", 40)
    assert ended(server, "idle") == 40
    assert server.connections() == 10


@again_when_late
def test_a_half_sent_answer_is_not_idleness(start):
    """Pending bytes have the write timeout; idle counts from when it was written."""
    server = start({"pool.workers": 1, **NONE, "timeouts.idle": 0.5})
    crowd = server.hold(Crowd(server.address, 1))
    [count] = server.make_pending(crowd, b"x" * 65536).values()
    [sock] = crowd.sockets.values()
    server.assert_idle(interval=1.0)
    sock.settimeout(seconds(10))
    client = Client(sock)
    client.receive(count)
    begin = time.monotonic()
    client.echo()
    client.expect_closed()
    took = time.monotonic() - begin
    assert took >= 0.49
    check_time(took, 0.5 + seconds(0.5))


FULL_SERVER = {"pool.workers": 1, "pool.worker_connections": 5, **NONE,
               "timeouts.idle_when_full": span(0.5)}


def one_after_the_other(server, count):
    """So many served clients, each idle for longer than the next."""
    clients = []
    for _ in range(count):
        clients.append(server.connect())
        clients[-1].echo()
        time.sleep(0.005)
    return clients


def who_is_closed(clients):
    return [i for i, client in enumerate(clients) if is_closed(client)]


@again_when_late
def test_when_full_as_many_as_wait_go_and_the_longest_idle_first(start):
    server = start(FULL_SERVER)
    begin = time.monotonic()
    clients = one_after_the_other(server, 5)
    clients[0].echo()  # now the one that came first is the youngest
    newcomers = [server.connect() for _ in range(2)]
    for client in newcomers:
        client.echo()
    took = time.monotonic() - begin
    check_time(took, span(0.5) + seconds(0.5))
    assert took >= span(0.49)
    assert who_is_closed(clients) == [1, 2]
    for client in (clients[0], clients[3], clients[4]):
        assert not client.hears(within=span(0.3))  # idle for longer than that, but nobody waits now
    reasons(server, "idle-when-full", 2)
    assert ended(server, "idle_when_full") == 2
    server.assert_idle(interval=0.3)


@again_when_late
def test_when_full_nobody_goes_before_the_time_nor_who_is_busy(start):
    server = start(FULL_SERVER | {"timeouts.idle_when_full": span(1.0)})
    begin = time.monotonic()
    clients = one_after_the_other(server, 5)
    with Slowly(clients[:4], lambda client: client.echo(b"x"), period=0.2, limit=span(1.0)):
        newcomers = [server.connect() for _ in range(3)]
        heard = clients[4].hears(within=span(0.7))
        assert not heard or time.monotonic() >= begin + span(1.0)
        wait_for(lambda: ended(server, "idle_when_full") == 1)
        newcomers[0].echo()
        server.assert_idle(share=0.1, interval=0.5)
        assert is_closed(clients[4])
        assert server.figures()[1]["waiting"] == 2


@again_when_late
def test_across_full_workers_exactly_as_many_go_as_wait(start):
    server = start(FULL_SERVER | {"pool.workers": 4, "timeouts.idle_when_full": span(0.4)})
    old = one_after_the_other(server, 10)
    young = one_after_the_other(server, 10)
    wait_for(lambda: [w["connections"] for w in server.figures()[0]] == [5] * 4)
    time.sleep(span(0.4) + 0.05)
    newcomers = []
    for at_once in (1, 1, 1, 1, 3):
        begin = time.monotonic()
        with before(begin + span(0.4)):
            for client in young:
                client.echo()
            newcomers += [server.connect() for _ in range(at_once)]
            for client in newcomers:
                client.echo()
        check_time(time.monotonic() - begin, span(0.4))  # else the young are idle too
        assert len(who_is_closed(old)) == len(newcomers)
    assert not who_is_closed(young)
    # Whoever is there may stay now, however idle.
    assert not any(client.hears(within=span(0.05)) for client in newcomers + young)
    assert ended(server, "idle_when_full") == 7


@again_when_late
def test_the_queue_timeout_closes_those_who_wait_and_nobody_else(start):
    server = start({"pool.workers": 1, "pool.worker_connections": 1, "pool.queue_limit": 10,
                    **NONE, "timeouts.queue": 1})
    holder = server.connect()
    holder.echo()
    begin = time.monotonic()
    with before(begin + 1):
        waiting = server.hold(Crowd(server.address, 10))
        wait_for(lambda: server.figures()[1]["waiting"] == 10)
    later = server.hold(Crowd(server.address, 5))  # in the backlog: their second has not begun
    wait_closed_between(waiting, begin, 1, 1 + seconds(0.5))
    any_closed = later.any_closed(within=max(0, begin + 1.6 - time.monotonic()))
    assert not any_closed or time.monotonic() >= begin + 2
    server.assert_idle(interval=0.2)
    later.wait_closed(5)
    holder.echo()
    reasons(server, "queue-timeout", 15)
    queue = server.figures()[1]
    assert (queue["expired"], queue["waiting"]) == (15, 0)
    server.assert_idle(interval=0.3)


@again_when_late
def test_50_who_never_read_are_gone_within_5_seconds_and_a_slow_reader_stays(start):
    server = start({"pool.workers": 2, **NONE, "timeouts.write": span(3)})
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.connect(server.address)
    data = os.urandom(1 << 20)
    slow = server.hold(Crowd(server.address, 0))
    slow.sockets[sock.fileno()] = sock
    sock.setblocking(False)
    [sent] = server.make_pending(slow, data, quiet=0.1).values()
    sock.settimeout(seconds(20))
    reader, got = Client(sock), []
    with Slowly([reader], lambda client: got.append(client.receive(2000)), period=0.1,
                limit=span(3)):
        begin = time.monotonic()
        greedy = server.hold(Crowd(server.address, 50))
        server.make_pending(greedy, b"x" * 65536, quiet=0.1)
        filled = time.monotonic()
        wait_for(lambda: ended(server, "write_timeout") == 50)
        now = time.monotonic()
        assert now - begin >= span(3)
        check_time(now - filled, seconds(5))
        server.assert_idle(interval=2.0)
    reasons(server, "write-timeout", 50)
    rest = sent - sum(map(len, got))
    assert b"".join(got) + reader.receive(rest) == (data * (sent // len(data) + 1))[:sent]
    reader.echo()


def one_with_a_small_window(server):
    """A client that does not wait for its calls, as a crowd of one, and its socket."""
    crowd = server.hold(Crowd(server.address, 0))
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.connect(server.address)
    sock.setblocking(False)
    crowd.sockets[sock.fileno()] = sock
    return crowd, sock


@again_when_late
def test_who_reads_slower_than_room_to_write_is_reported_stays(start):
    """At 4 kB/s the kernel tells of room every few seconds, and of what is taken every second."""
    limit = span(2)
    server = start({"pool.workers": 1, **NONE, "timeouts.write": limit})
    crowd, sock = one_with_a_small_window(server)
    server.make_pending(crowd, os.urandom(1 << 20), quiet=0.1)
    sock.settimeout(seconds(20))
    with Slowly([Client(sock)], lambda client: client.receive(400), period=0.1, limit=limit / 4):
        time.sleep(3 * limit)
        assert ended(server, "write_timeout") == 0
    begin = time.monotonic()
    wait_for(lambda: ended(server, "write_timeout") == 1)
    check_time(time.monotonic() - begin, limit + limit / 8 + seconds(2))


@again_when_late
def test_what_is_newly_pending_has_its_time_whenever_something_was_taken_last(start):
    limit = span(2)
    server = start({"pool.workers": 1, **NONE, "timeouts.write": limit})
    crowd, sock = one_with_a_small_window(server)
    sent = sock.send(b"x" * 20000)
    wait_for(lambda: server.figures()[0][0]["sent_bytes"] == sent)
    time.sleep(limit)
    begin = time.monotonic()
    server.make_pending(crowd, b"x" * 65536, quiet=0.05)
    wait_for(lambda: ended(server, "write_timeout") == 1)
    assert time.monotonic() - begin >= limit


@again_when_late
def test_timeouts_are_changed_by_a_reload(start):
    settings = {"pool.workers": 2, "pool.worker_connections": 10, **NONE}
    server = start(settings)
    silent = server.hold(Crowd(server.address, 10))
    greedy = server.hold(Crowd(server.address, 10))
    silent.exchange()
    server.make_pending(greedy, b"x" * 65536, quiet=0.1)
    waiting = server.hold(Crowd(server.address, 5))
    wait_for(lambda: server.figures()[1]["waiting"] == 5)
    assert not silent.any_closed(within=0.3)
    server.reload(settings | {"timeouts.queue": 0.3})
    waiting.wait_closed(5)
    server.reload(settings | {"timeouts.write": 0.3})
    wait_for(lambda: ended(server, "write_timeout") == 10)
    begin = time.monotonic()
    silent.exchange()
    server.reload(settings | {"timeouts.idle": 60})
    assert not silent.any_closed(within=0.2)
    server.reload(settings | {"timeouts.idle": 0.5})
    reloaded = time.monotonic() - begin
    wait_closed_between(silent, begin, 0.5, max(0.5, reloaded) + seconds(0.5))
    server.reload(settings)
    stays = server.hold(Crowd(server.address, 10))
    stays.exchange()
    assert not stays.any_closed(within=1.0)
    server.assert_idle(interval=0.3)


def stop_for(server, interval, meanwhile):
    """Stops the program, calls meanwhile, and has it go on interval seconds later."""
    server.suspend()
    meanwhile()
    time.sleep(interval)
    server.send_signal(signal.SIGCONT)


@again_when_late
def test_stopped_and_continued_nobody_goes_who_was_heard_meanwhile(start):
    """More than the worker looks at in one turn; and a continued epoll_wait gives EINTR first."""
    # Longer where the build is slow: the greedy must outlive what comes before the reload.
    limit = span(1)
    server = start({"pool.workers": 1, **NONE, "timeouts.idle": limit, "timeouts.write": limit})
    talking = server.hold(Crowd(server.address, 500))
    silent = server.hold(Crowd(server.address, 20))
    begin = time.monotonic()
    for crowd in (talking, silent):
        with before(begin + limit):
            crowd.exchange()
    messages = talking.messages()
    greedy = server.hold(Crowd(server.address, 20))
    data = os.urandom(1 << 20)
    with before(begin + limit):
        sent = server.make_pending(greedy, data, quiet=0.05)

    def meanwhile():
        check_time(time.monotonic() - begin, limit)  # else somebody may have gone before
        for fd, sock in talking.sockets.items():
            sock.send(messages[fd])
        wait_for(lambda: not take_what_is_there(greedy, sent) and unacknowledged_bytes(server) == 0)

    stop_for(server, 1.2 * limit, meanwhile)
    begin = time.monotonic()
    silent.wait_closed(20)
    server.reload({"pool.workers": 1, **NONE})
    check_time(time.monotonic() - begin, limit)  # else the next second is over too
    for fd, sock in talking.sockets.items():
        sock.settimeout(seconds(10))
        assert sock.recv(100) == messages[fd]
    for fd, sock in greedy.sockets.items():
        sock.settimeout(seconds(10))
        Client(sock).receive(sent[fd])
    assert ended(server, "write_timeout") == 0


def take_what_is_there(crowd, left):
    """Everybody reads once, and has so much less left; returns how many bytes came."""
    came = 0
    for fd, sock in crowd.sockets.items():
        try:
            count = len(sock.recv(1 << 20))
        except BlockingIOError:
            continue
        left[fd] -= count
        came += count
    return came


def unacknowledged_bytes(server):
    """What the server's kernel has not brought to its clients yet: tx_queue, proc_net_tcp(5)."""
    port = f":{server.address[1]:04X}"
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()]
    return sum(int(line[4].split(":")[0], 16) for line in lines if line[1].endswith(port))


@again_when_late
def test_stopped_and_continued_when_full_nobody_goes_who_was_heard_meanwhile(start):
    server = start(FULL_SERVER | {"timeouts.idle_when_full": span(1.5)})
    begin = time.monotonic()
    clients = one_after_the_other(server, 5)
    newcomer = server.connect()
    newcomer.send(b"hello")
    wait_for(lambda: server.figures()[1]["waiting"] == 1)

    def meanwhile():
        check_time(time.monotonic() - begin, span(1.5))
        for client in (clients[0], clients[1], clients[3]):
            client.send(b"x")

    stop_for(server, span(1.6), meanwhile)
    assert newcomer.receive(5) == b"hello"
    for i in (0, 1, 3):
        assert clients[i].receive(1) == b"x"
    assert who_is_closed(clients) == [2]


@again_when_late
def test_stopped_and_continued_is_no_reason_to_close_early(start):
    server = start({"pool.workers": 1, **NONE, "timeouts.idle": 1.5})
    silent = server.hold(Crowd(server.address, 20))
    begin = time.monotonic()
    silent.exchange()
    stop_for(server, 0.5, lambda: None)
    # The stop itself may come on top, where it hit between a look at the clock and the wait.
    wait_closed_between(silent, begin, 1.5, 1.5 + 0.5 + seconds(0.5))
