"""Clients that send random messages at random moments, and check every byte that comes back."""

import contextlib
import random
import select
import socket
import threading
import time

from clients import dial, need_descriptors
from harness import seconds

MESSAGE_SIZES = [1, 2, 100, 1000, 5000, 65536, 200_000]


class Talker:
    """One client of Talkers: bytes of a long random text, from a place of its own."""

    def __init__(self, address, text, offset):
        self.sock = dial(address, seconds(20))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.setblocking(False)
        self.text = text
        self.offset = offset
        self.goal = 0
        self.sent = 0
        self.received = 0
        self.ended = False

    def _at(self, position, count):
        """The bytes at position: at most count, at least one."""
        begin = (self.offset + position) % len(self.text)
        return self.text[begin:begin + count]

    def send(self):
        """Sends what fits now; True when nothing of the message is left."""
        with contextlib.suppress(BlockingIOError):
            while self.sent < self.goal:
                self.sent += self.sock.send(self._at(self.sent, self.goal - self.sent))
        return self.sent == self.goal

    def receive(self):
        """Compares what has come."""
        got = self.sock.recv(1 << 18)
        if not got:
            assert self.received == self.sent, f"EOF after {self.received} of {self.sent} bytes"
            self.ended = True
        while got:
            want = self._at(self.received, min(len(got), self.sent - self.received))
            assert want, "more bytes than were sent"
            assert got.startswith(want), f"wrong after {self.received} bytes"
            self.received += len(want)
            got = got[len(want):]


class Talkers(threading.Thread):
    """Clients that send random messages at random moments and check what comes back.

    Use it in a with statement: at its end each sends no more, and must have every byte and EOF.
    """

    def __init__(self, address, count, seed=1):
        super().__init__(daemon=True)
        need_descriptors(count + 200)
        self.random = random.Random(seed)
        text = self.random.randbytes(1 << 20)
        self.talkers = {}
        for i in range(count):
            talker = Talker(address, text, 99_991 * i)
            self.talkers[talker.sock.fileno()] = talker
        self.messages = 0
        self.failure = None
        self._finishing = threading.Event()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *exception):
        self._finishing.set()
        self.join(seconds(60))
        for talker in self.talkers.values():
            talker.sock.close()
        self.check()
        assert not self.is_alive(), "not everything came back"

    def check(self):
        """Fails as soon as anything has gone wrong for anyone."""
        if self.failure:
            raise AssertionError(f"a talking client was hurt: {self.failure!r}") from self.failure

    def wait_messages(self, more):
        """Waits until so many more messages have come back complete."""
        goal = self.messages + more
        deadline = time.monotonic() + seconds(20)
        while self.messages < goal:
            self.check()
            assert time.monotonic() < deadline, f"{goal - self.messages} messages did not come"
            time.sleep(0.005)

    def run(self):
        try:
            with select.epoll() as poll:
                for fd in self.talkers:
                    poll.register(fd, select.EPOLLIN)
                while not self._finishing.is_set():
                    self._begin_messages(poll)
                    self._turn(poll)
                self._finish(poll)
        except (OSError, AssertionError) as failure:
            self.failure = failure

    def _begin_messages(self, poll):
        """A random few of those who have got their last one back send another."""
        for fd in self.random.sample(list(self.talkers), (len(self.talkers) + 3) // 4):
            talker = self.talkers[fd]
            if talker.received == talker.goal:
                talker.goal += self.random.choice(MESSAGE_SIZES)
                poll.modify(fd, select.EPOLLIN | select.EPOLLOUT)

    def _turn(self, poll):
        for fd, event in poll.poll(0.01):
            talker = self.talkers[fd]
            if event & select.EPOLLOUT and talker.send():
                poll.modify(fd, select.EPOLLIN)
            if event & ~select.EPOLLOUT:
                talker.receive()
                assert not talker.ended or self._finishing.is_set(), "disconnected"
                self.messages += talker.received == talker.goal
                if talker.ended:
                    poll.unregister(fd)

    def _finish(self, poll):
        deadline = time.monotonic() + seconds(30)
        open_ones = list(self.talkers.values())
        for talker in open_ones:
            talker.goal = talker.sent
            talker.sock.shutdown(socket.SHUT_WR)
        while not all(talker.ended for talker in open_ones):
            assert time.monotonic() < deadline, "no end after the half-close"
            self._turn(poll)
