"""Floods of connections that trickle, from many addresses: what keeps a pool full."""

import heapq
import itertools
import select
import socket
import threading
import time

from clients import need_descriptors


class Flood:
    """Connections from many addresses that send a byte now and then, and come again when closed."""

    def __init__(self, address, addresses, count, every, ramp=0):
        """count connections to address from so many addresses; every: seconds between bytes.

        They are opened within ramp seconds: without, some may be dropped by the kernel, whose
        backlog they fill, and try again after seconds. ramped is set when all have begun.
        """
        need_descriptors(count + 200)
        self.address = address
        self.every = every
        self.sources = [f"{address[0].split('.')[0]}.77.{i // 250 + 1}.{i % 250 + 1}"
                        for i in range(addresses)]
        self.poll = select.epoll()
        self.sockets = {}
        self.due = []  # when the next byte is sent, or a connection opened
        self.order = itertools.count()
        self.stopping = threading.Event()
        for i in range(count):
            self._plan(ramp * i / count, self.sources[i % addresses], None)
        self.to_open = count
        self.ramped = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _plan(self, after, source, sock):
        heapq.heappush(self.due, (time.monotonic() + after, next(self.order), source, sock))

    def _open(self, source):
        self.to_open -= 1
        if self.to_open == 0:
            self.ramped.set()
        sock = socket.socket()
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT
        sock.bind((source, 0))
        sock.connect_ex(self.address)
        self.sockets[sock.fileno()] = sock, source
        self.poll.register(sock.fileno(), select.EPOLLIN)
        self._plan(self.every, source, sock)

    def _act(self, source, sock):
        if sock is None:
            self._open(source)
        elif sock.fileno() >= 0:
            try:
                sock.send(b"x")
            except OSError:
                pass  # not connected yet, or reset, which the poll tells
            self._plan(self.every, source, sock)

    def _hear(self, fd):
        sock, source = self.sockets[fd]
        try:
            if sock.recv(4096):
                return
        except BlockingIOError:
            return
        except OSError:
            pass
        self.poll.unregister(fd)
        del self.sockets[fd]
        sock.close()
        self._plan(0.2, source, None)

    def _run(self):
        while not self.stopping.is_set():
            for _ in range(200):
                if self.due and self.due[0][0] <= time.monotonic():
                    self._act(*heapq.heappop(self.due)[2:])
            for fd, _ in self.poll.poll(0.01):
                self._hear(fd)

    def close(self):
        self.stopping.set()
        self.thread.join()
        self.poll.close()
        for sock, _ in self.sockets.values():
            sock.close()
