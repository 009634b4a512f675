"""TCP servers with one fault each, in threads of the test's process, on a free port of 127.0.0.1.

EchoServer is right. Each class below it does one thing wrong, at a place that can be foretold, and
keeps count of it. Use them in a with statement: at its end every connection and thread is gone, and
an error of the server itself fails the test.
"""

import contextlib
import math
import os
import socket
import threading
import time

from clients import family_of, reset

READ_BYTES = 1 << 16
GONE_S = 10


class Stream:
    """One accepted connection, its number from 0, and how many bytes were taken from it."""

    def __init__(self, number, sock):
        self.number = number
        self.sock = sock
        self.received = 0

    def wait_end(self):
        """Takes what still comes, answers nothing, until the client has gone."""
        while self.sock.recv(READ_BYTES):
            pass


class EchoServer:
    """Sends back what comes. answer() and serve() are for the classes below to change."""

    def __init__(self, host="127.0.0.1", backlog=1024):
        self._listener = socket.create_server((host, 0), family=family_of((host, 0)),
                                              backlog=backlog)
        self.address = self._listener.getsockname()[:2]
        self.lock = threading.Lock()
        self.first_s = None
        self.peers = []
        self.streams = []
        self._threads = []
        self._failures = []

    def __enter__(self):
        self._in_thread(self._accept)
        return self

    def __exit__(self, *exception):
        self.stop()
        for thread in self._threads:
            thread.join(GONE_S)
            assert not thread.is_alive(), "a thread of the server does not end"
        self._listener.close()
        assert not self._failures, self._failures

    @property
    def accepted(self):
        """How many connections have come so far."""
        return len(self.streams)

    @property
    def received(self):
        """How many bytes were taken and answered so far."""
        return sum(stream.received for stream in list(self.streams))

    def stop(self):
        """Ends the listener and every connection, each as if its peer had gone."""
        for sock in (self._listener, *(stream.sock for stream in list(self.streams))):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def _in_thread(self, function, *arguments):
        thread = threading.Thread(target=function, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self):
        while True:
            try:
                sock, peer = self._listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            stream = Stream(len(self.streams), sock)
            self.streams.append(stream)
            self.peers.append(peer)
            self._in_thread(self._run, stream)

    def _run(self, stream):
        try:
            with stream.sock:
                self.serve(stream)
        except ConnectionError:
            pass
        except Exception as failure:  # whatever it is, the test must hear of it
            self._failures.append(failure)

    def age_s(self):
        """How long ago the first byte of all came."""
        self.first_s = self.first_s or time.monotonic()
        return time.monotonic() - self.first_s

    def serve(self, stream):
        """Answers one connection until its end."""
        while data := stream.sock.recv(READ_BYTES):
            stream.sock.sendall(self.answer(stream, data))
            stream.received += len(data)

    def answer(self, stream, data):
        """What is sent back for data, whose first byte is number stream.received of the stream."""
        return data


class Corrupting(EchoServer):
    """Flips a bit of every so many-th byte of each stream, until it has done so limit times."""

    def __init__(self, every=1_000_000, limit=5):
        super().__init__()
        self.every = every
        self.limit = limit
        self.corrupted = 0

    def answer(self, stream, data):
        changed = bytearray(data)
        with self.lock:
            for i in range(self.every - 1 - stream.received % self.every, len(data), self.every):
                if self.corrupted < self.limit:
                    changed[i] ^= 1
                    self.corrupted += 1
        return changed


class AtPlace(EchoServer):
    """Does something wrong once, in the first answer that ends after byte number place."""

    def __init__(self, place=1000):
        super().__init__()
        self.place = place
        self.done = False

    def answer(self, stream, data):
        with self.lock:
            if self.done or stream.received + len(data) <= self.place:
                return data
            self.done = True
        return self.spoil(bytearray(data))

    def spoil(self, data):
        """A wrong answer in place of data."""
        raise NotImplementedError


class Swapping(AtPlace):
    """Swaps two neighbours that differ."""

    def spoil(self, data):
        i = next(i for i in range(len(data) - 1) if data[i] != data[i + 1])
        data[i], data[i + 1] = data[i + 1], data[i]
        return data


class Doubling(AtPlace):
    """Sends one byte twice."""

    def spoil(self, data):
        middle = len(data) // 2
        return data[:middle + 1] + data[middle:]


class Dropping(AtPlace):
    """Leaves one byte out."""

    def spoil(self, data):
        del data[len(data) // 2]
        return data


class Inventing(AtPlace):
    """Sends bytes that nobody sent, right behind an answer."""

    EXTRA = b"\0" * 7

    def spoil(self, data):
        return data + self.EXTRA


class Greeting(EchoServer):
    """Says something before anybody asked, as a mail server does, to all or the first so many."""

    GREETING = b"220 ready\r\n"

    def __init__(self, greeted=math.inf):
        super().__init__()
        self.greeted = greeted

    def serve(self, stream):
        if stream.number < self.greeted:
            stream.sock.sendall(self.GREETING)
        super().serve(stream)


class Leaving(EchoServer):
    """Echoes so many bytes of each connection, then leave() ends it."""

    def __init__(self, after, leave):
        super().__init__()
        self.after = after
        self.leave = leave

    def serve(self, stream):
        while stream.received < self.after:
            data = stream.sock.recv(min(READ_BYTES, self.after - stream.received))
            if not data:
                return
            stream.sock.sendall(data)
            stream.received += len(data)
        self.leave(stream)


def close_politely(stream):
    """Ends the sending side, and goes when the client has gone, so that it never sees a reset."""
    stream.sock.shutdown(socket.SHUT_WR)
    stream.wait_end()


def close_after_asking(stream):
    """Waits for the next message, answers nothing of it, and ends politely."""
    stream.sock.recv(READ_BYTES)
    close_politely(stream)


def close_abruptly(stream):
    """Ends both sides at once; what the client sends later is answered with a reset."""
    stream.sock.close()


def close_with_reset(stream):
    """The client gets a reset instead of an end."""
    reset(stream.sock)


class AnsweringOnce(EchoServer):
    """Ends each connection with its first answer: the client sees both at the same moment."""

    def serve(self, stream):
        stream.sock.send(stream.sock.recv(READ_BYTES), socket.MSG_MORE)
        close_politely(stream)


class StallingOnce(EchoServer):
    """Everybody waits once: no answer goes out from begin to begin + length seconds.

    The time counts from the first byte that came from anyone.
    """

    def __init__(self, begin, length):
        super().__init__()
        self.begin = begin
        self.end = begin + length

    def answer(self, stream, data):
        with self.lock:
            age = self.age_s()
            if self.begin <= age < self.end:
                time.sleep(self.end - age)
        return data


class Held(EchoServer):
    """Answers nobody from hold() to release(); waiting is how many connections have asked since."""

    def __init__(self):
        super().__init__()
        self._goes_on = threading.Event()
        self._goes_on.set()
        self.waiting = 0

    def hold(self):
        self._goes_on.clear()

    def release(self):
        self._goes_on.set()

    def stop(self):
        self.release()
        super().stop()

    def answer(self, stream, data):
        if not self._goes_on.is_set():
            with self.lock:
                self.waiting += 1
            self._goes_on.wait()
        return data


class Recording(EchoServer):
    """Notes when something came."""

    def __init__(self):
        super().__init__()
        self.moments = []

    def answer(self, stream, data):
        with self.lock:
            self.moments.append(time.monotonic())
        return data


class Silent(EchoServer):
    """Takes everything and never answers."""

    def serve(self, stream):
        stream.wait_end()


class FirstOnly(EchoServer):
    """Serves the first so many connections; the others are accepted and get nothing."""

    def __init__(self, served):
        super().__init__()
        self.served = served

    def serve(self, stream):
        if stream.number < self.served:
            super().serve(stream)
        else:
            stream.wait_end()


class Slow(EchoServer):
    """Takes its time for every answer, on each connection or only on the first."""

    DELAY_S = 0.05

    def __init__(self, only_first=False, delay_s=DELAY_S):
        super().__init__()
        self.only_first = only_first
        self.delay_s = delay_s

    def answer(self, stream, data):
        if stream.number == 0 or not self.only_first:
            time.sleep(self.delay_s)
        return data


class Uneven(Slow):
    """As Slow, but so many times as slow for one of so many messages."""

    def __init__(self, delay_s, times, every):
        super().__init__(delay_s=delay_s)
        self.times = times
        self.every = every

    def answer(self, stream, data):
        if stream.received // len(data) % self.every == self.every - 1:
            time.sleep((self.times - 1) * self.delay_s)
        return super().answer(stream, data)


class StoppingOften(EchoServer):
    """Answers nobody for so many seconds of each period, counted from the first byte."""

    def __init__(self, pause_s, period_s):
        super().__init__()
        self.pause_s = pause_s
        self.period_s = period_s
        self.stops = 0

    def answer(self, stream, data):
        with self.lock:
            if self.age_s() >= (self.stops + 1) * self.period_s:
                self.stops += 1
                time.sleep(self.pause_s)
        return data


class FirstAnswers(EchoServer):
    """Answers so many messages of 64 bytes of each connection, and then nothing any more."""

    def __init__(self, count):
        super().__init__()
        self.count = count

    def serve(self, stream):
        while stream.received < 64 * self.count:
            data = stream.sock.recv(64 * self.count - stream.received)
            if not data:
                return
            stream.sock.sendall(data)
            stream.received += len(data)
        stream.wait_end()


class Sizing(EchoServer):
    """Notes the size of each message of a client that waits for its answer."""

    def __init__(self):
        super().__init__()
        self.sizes = []

    def answer(self, stream, data):
        self.sizes.append(len(data))
        return data


class Burning(EchoServer):
    """Needs a whole CPU for each connection."""

    CPU_S = 0.02

    def answer(self, stream, data):
        end = time.thread_time() + self.CPU_S
        while time.thread_time() < end:
            pass
        return data


class Exiting(EchoServer):
    """Its process ends so many seconds after the first byte came."""

    def __init__(self, after):
        super().__init__()
        self.after = after

    def answer(self, stream, data):
        if self.age_s() > self.after:
            os._exit(0)
        return data


class Dying(EchoServer):
    """Is gone, listener and all, so many seconds after the first byte came."""

    def __init__(self, after):
        super().__init__()
        self.after = after
        self.died = False

    def answer(self, stream, data):
        with self.lock:
            if self.age_s() > self.after:
                self.stop()
                self.died = True
        return data


class NeverAccepting:
    """A listening socket and nobody behind it; the kernel shakes hands for backlog + 1 clients."""

    def __init__(self, backlog):
        self._sock = socket.create_server(("127.0.0.1", 0), backlog=backlog)
        self.address = self._sock.getsockname()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self._sock.close()


class NotListening(NeverAccepting):
    """A port that is taken, so that nobody else can listen there, and refuses everyone."""

    def __init__(self):
        self._sock = socket.socket()
        self._sock.bind(("127.0.0.1", 0))
        self.address = self._sock.getsockname()
