"""Clients of the echo service: one that blocks, crowds in one epoll set, and streams."""

import errno
import os
import resource
import select
import socket
import struct
import time

import pytest

RESET_ON_CLOSE = struct.pack("ii", 1, 0)


def family_of(address):
    return socket.AF_INET6 if ":" in address[0] else socket.AF_INET


def need_descriptors(count):
    """Raises this process's descriptor limit to the hard one; skips if that is too low."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard != resource.RLIM_INFINITY and hard < count:
        pytest.skip(f"needs more descriptors: {count}, and the hard limit is {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def reset(sock):
    """Closes a socket so that its peer gets a reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    sock.close()


def dial(address, timeout, source=None):
    """A connected socket, from the address source where that is given.

    What is left of it for a minute (TIME_WAIT) must not keep a server from its port and address.
    """
    sock = socket.socket(family_of(address))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.settimeout(timeout)
    if source:
        sock.bind((source, 0))
    sock.connect(address)
    if sock.getsockname() == sock.getpeername():  # nobody listens, and it met itself
        sock.close()
        raise ConnectionRefusedError(errno.ECONNREFUSED, "connected to itself")
    return sock


class Client:
    """One blocking client, on a connected socket that has a timeout."""

    def __init__(self, sock):
        self.sock = sock
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    @classmethod
    def connect(cls, address, timeout):
        """A client whose every wait ends after timeout seconds."""
        return cls(dial(address, timeout))

    @property
    def name(self):
        """This client's address, as the server's log writes its peer."""
        host, port = self.sock.getsockname()[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def send(self, data):
        self.sock.sendall(data)

    def receive(self, count):
        """Exactly count bytes."""
        parts = []
        while count > 0:
            part = self.sock.recv(min(count, 1 << 18))
            assert part, f"the server closed with {count} bytes still to come"
            parts.append(part)
            count -= len(part)
        return b"".join(parts)

    def echo(self, data=b"echo, please\n"):
        """Sends data, expects it back, and returns the seconds between."""
        begin = time.monotonic()
        self.send(data)
        answer = self.receive(len(data))
        elapsed = time.monotonic() - begin
        assert answer == data, "not the bytes that were sent"
        return elapsed

    def finish(self):
        """Closes the sending side: no more bytes will come."""
        self.sock.shutdown(socket.SHUT_WR)

    def expect_eof(self):
        rest = self.sock.recv(1 << 16)
        assert rest == b"", f"{len(rest)} bytes more than were sent"

    def expect_closed(self):
        """The server has ended the connection, politely or with a reset."""
        try:
            self.expect_eof()
        except ConnectionResetError:
            pass

    def hears(self, within):
        """True when anything (bytes or the end) arrives within so many seconds."""
        return bool(select.select([self.sock], [], [], within)[0])

    def reset(self):
        reset(self.sock)

    def close(self):
        self.sock.close()


class Crowd:
    """Many clients of one server, all of them non-blocking, in one epoll set.

    They are connected when the constructor returns, unless wait is False: then each connects while
    the first exchange() goes on. receive_bytes is the size of their receive buffers.
    """

    def __init__(self, address, count, wait=True, timeout=30, receive_bytes=None):
        need_descriptors(count + 200)
        self.timeout = timeout
        self.sockets = {}
        for _ in range(count):
            sock = socket.socket(family_of(address), socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.sockets[sock.fileno()] = sock
            if receive_bytes:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
            error = sock.connect_ex(address)
            assert error in (0, errno.EINPROGRESS), os.strerror(error)
        if wait:
            self._wait_connected()

    def _events(self, poll, deadline, what):
        """The next events; fails when there is none until the deadline."""
        events = poll.poll(max(0, deadline - time.monotonic()))
        assert events, f"{what} after {self.timeout} s"
        return events

    def _wait_connected(self):
        waiting = set(self.sockets)
        deadline = time.monotonic() + self.timeout
        with select.epoll() as poll:
            for fd in waiting:
                poll.register(fd, select.EPOLLOUT)
            while waiting:
                for fd, _ in self._events(poll, deadline, f"{len(waiting)} not connected"):
                    error = self.sockets[fd].getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                    assert error == 0, f"connect: {os.strerror(error)}"
                    poll.unregister(fd)
                    waiting.discard(fd)

    def messages(self, size=64):
        """A message for each client, different from everybody else's."""
        return {fd: os.urandom(8) + (b"%08d" % fd) * (size // 8 - 1) for fd in self.sockets}

    def exchange(self, messages=None):
        """Everybody sends its message and must get exactly that back."""
        messages = messages or self.messages()
        unsent = dict(messages)
        got = {fd: b"" for fd in messages}
        deadline = time.monotonic() + self.timeout
        with select.epoll() as poll:
            for fd in messages:
                poll.register(fd, select.EPOLLOUT)
            while got:
                for fd, event in self._events(poll, deadline, f"{len(got)} not served"):
                    if unsent.get(fd):
                        unsent[fd] = unsent[fd][self.sockets[fd].send(unsent[fd]):]
                        if not unsent[fd]:
                            poll.modify(fd, select.EPOLLIN)
                    elif event:
                        self._take(fd, got, messages[fd], poll)

    def _take(self, fd, got, message, poll):
        part = self.sockets[fd].recv(1 << 16)
        assert part, "closed before everything came back"
        got[fd] += part
        if len(got[fd]) >= len(message):
            assert got.pop(fd) == message, "not the bytes that were sent"
            poll.unregister(fd)

    def wait_closed(self, count):
        """Waits until the server has closed count of them, and forgets those; returns how many."""
        closed = set()
        deadline = time.monotonic() + self.timeout
        with select.epoll() as poll:
            for fd in self.sockets:
                poll.register(fd, select.EPOLLIN)
            while len(closed) < count:
                what = f"{len(closed)} of {count} closed"
                closed |= {fd for fd, _ in self._events(poll, deadline, what)}
        for fd in closed:
            sock = self.sockets.pop(fd)
            try:
                assert sock.recv(1) == b""
            except ConnectionResetError:
                pass
            sock.close()
        return len(closed)

    def any_closed(self, within):
        """True when the server ends any of them within so many seconds."""
        with select.epoll() as poll:
            for fd in self.sockets:
                poll.register(fd, select.EPOLLIN)
            return bool(poll.poll(within))

    def next_answered(self):
        """Waits until something comes for someone, and takes those sockets out of the crowd."""
        with select.epoll() as poll:
            for fd in self.sockets:
                poll.register(fd, select.EPOLLIN)
            events = self._events(poll, time.monotonic() + self.timeout, "nobody answered")
        return [self.sockets.pop(fd) for fd, _ in events]

    def fill(self, data, quiet=0.3, sent=None):
        """Everybody sends data over and over, reading nothing, until none could for quiet s.

        Returns how many bytes each has sent, from which it goes on when they are given as sent.
        """
        sent = dict.fromkeys(self.sockets, 0) if sent is None else sent
        deadline = time.monotonic() + self.timeout
        with select.epoll() as poll:
            for fd in self.sockets:
                poll.register(fd, select.EPOLLOUT)
            while events := poll.poll(quiet):
                assert time.monotonic() < deadline, "the server takes bytes without end"
                for fd, _ in events:
                    try:
                        sent[fd] += self.sockets[fd].send(data[sent[fd] % len(data):])
                    except BlockingIOError:
                        pass
        return sent

    def close(self):
        for sock in self.sockets.values():
            sock.close()
        self.sockets.clear()

    def reset(self):
        for sock in self.sockets.values():
            reset(sock)
        self.sockets.clear()


class Stream:
    """Sends data, rotated by offset, closes its sending side, and checks what returns."""

    CHUNK = 1 << 18

    def __init__(self, address, data, offset, timeout):
        self.sock = dial(address, timeout)
        self.sock.setblocking(False)
        self.data = data
        self.offset = offset
        self.sent = 0
        self.received = 0
        self.ended = False

    def _expected(self, position, count):
        """The bytes of this stream at position: at most count, at least one."""
        begin = (self.offset + position) % len(self.data)
        return self.data[begin:begin + min(count, len(self.data) - position)]

    def write(self):
        """Sends some; True when that was the last."""
        try:
            self.sent += self.sock.send(self._expected(self.sent, self.CHUNK))
        except BlockingIOError:
            return False
        if self.sent < len(self.data):
            return False
        self.sock.shutdown(socket.SHUT_WR)
        return True

    def read(self):
        """Receives and compares some."""
        got = self.sock.recv(self.CHUNK)
        if not got:
            assert self.received == len(self.data), f"EOF after {self.received} bytes"
            self.ended = True
            self.sock.close()
        compared = 0
        while compared < len(got):
            want = self._expected(self.received, len(got) - compared)
            assert want, "more bytes than were sent"
            assert got[compared:compared + len(want)] == want, f"wrong after {self.received} bytes"
            compared += len(want)
            self.received += len(want)


def run_streams(streams, timeout):
    """Runs streams side by side until each has all its bytes back and then EOF."""
    deadline = time.monotonic() + timeout
    by_fd = {stream.sock.fileno(): stream for stream in streams}
    with select.epoll() as poll:
        for fd in by_fd:
            poll.register(fd, select.EPOLLIN | select.EPOLLOUT)
        while by_fd:
            events = poll.poll(max(0, deadline - time.monotonic()))
            assert events, f"{len(by_fd)} streams not done after {timeout} s"
            for fd, event in events:
                stream = by_fd[fd]
                if event & select.EPOLLOUT and stream.sent < len(stream.data) and stream.write():
                    poll.modify(fd, select.EPOLLIN)
                if event & (select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR):
                    stream.read()
                if stream.ended:
                    del by_fd[fd]
