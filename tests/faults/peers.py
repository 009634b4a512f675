"""The clients of one run: each checks every byte, all run in one loop.

A peer ends as one of the OUTCOMES; who may end how is for judge.py.
"""

import errno
import random
import select
import socket
import struct
import time

from program import Stuck, seconds

EXACT = "exact"      # everything came back, and nothing else
EARLY = "early"      # the server ended it before
REFUSED = "refused"  # there was no connection, or not one byte came over it
WRONG = "wrong"      # a byte that was not sent

# Different bytes for each peer, so that one's bytes are seen at another.
_BYTES = random.Random(1).randbytes(2_000_000)
_GONE = (errno.ECONNRESET, errno.EPIPE, errno.ECONNREFUSED, errno.ECONNABORTED, errno.ENOTCONN,
         errno.ETIMEDOUT)
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Peer:
    """Sends payload in pieces, each after the echo of the one before, and reads it back.

    half_close: shuts down its sending side after the last byte, and expects
    the end after the last echo. slow: reads only when it can write no more,
    through small buffers. reset: resets once the first piece is back.
    """

    def __init__(self, name, address, payload, piece=None, half_close=False, slow=False,
                 reset=False):
        self.name = name
        self.payload = memoryview(payload)
        self.piece = piece or len(_BYTES)
        self.half_close = half_close
        self.slow = slow
        self.reset = reset
        self.sent = self.got = 0
        self.outcome = None if payload else EXACT
        self.closed = False
        self.detail = ""
        self.stalled = False
        self.interest = None
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.sock = socket.socket(family, socket.SOCK_STREAM)
        if slow:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        self.sock.setblocking(False)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        error = self.sock.connect_ex(address)
        if error not in (0, errno.EINPROGRESS):
            self._over(OSError(error, ""))

    def _over(self, error=None):
        """The server has ended the connection."""
        why = errno.errorcode.get(error.errno, str(error)) if error else "end"
        self.detail = f"{why} after {self.sent} sent, {self.got} back of {len(self.payload)}"
        self.outcome = EARLY if self.got else REFUSED
        self.close()

    def close(self):
        if not self.closed:
            self.sock.close()
        self.closed = True

    def extend(self, payload):
        """Gives the peer more to say."""
        if self.outcome == EXACT and not self.closed:
            self.payload = memoryview(bytes(self.payload) + payload)
            self.outcome = None

    def _may_send_until(self):
        return min(len(self.payload), (self.got // self.piece + 1) * self.piece)

    def wants(self):
        """The events to wait for now."""
        if self.closed:
            return 0
        may_send = self.sent < self._may_send_until()
        if self.slow and may_send and not self.stalled:
            return select.EPOLLOUT
        return select.EPOLLIN | (select.EPOLLOUT if may_send else 0)

    def turn(self, events):
        """Acts on what epoll has said."""
        try:
            if events & select.EPOLLOUT:
                self._send()
            if events & ~select.EPOLLOUT:
                self._receive()
        except OSError as error:
            if error.errno not in _GONE:
                raise
            self._over(error)

    def _send(self):
        until = self._may_send_until()
        while self.sent < until:
            try:
                self.sent += self.sock.send(self.payload[self.sent:min(until, self.sent + 65536)])
            except BlockingIOError:
                self.stalled = True
                return
        if self.half_close and self.sent == len(self.payload):
            self.sock.shutdown(socket.SHUT_WR)

    def _receive(self):
        try:
            data = self.sock.recv(65536)
        except BlockingIOError:
            return
        if not data:
            self._end()
            return
        if data != self.payload[self.got:self.got + len(data)]:
            self.detail = f"wrong bytes at {self.got}"
            self.outcome = WRONG
            self.close()
            return
        self.got += len(data)
        if self.reset and self.got >= self.piece:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            self.outcome = EXACT
            self.close()
        elif self.got == len(self.payload) and not self.half_close:
            self.outcome = EXACT

    def _end(self):
        if self.half_close and self.got == len(self.payload):
            self.outcome = EXACT
            self.close()
        else:
            self._over()


def payload(number, size):
    """The bytes of peer number."""
    start = (number * 7919) % (len(_BYTES) - size)
    return _BYTES[start:start + size]


class Crowd:
    """Some peers in one epoll set."""

    def __init__(self):
        self.peers = []
        self._epoll = select.epoll()

    def add(self, peer):
        self.peers.append(peer)
        if not peer.closed:
            peer.interest = peer.wants()
            self._epoll.register(peer.sock, peer.interest)
        return peer

    def _turn(self, timeout):
        by_fd = {peer.sock.fileno(): peer for peer in self.peers if not peer.closed}
        for fd, events in self._epoll.poll(timeout):
            by_fd[fd].turn(events)
        # A closed socket leaves the set by itself.
        for peer in by_fd.values():
            if not peer.closed and peer.wants() != peer.interest:
                peer.interest = peer.wants()
                self._epoll.modify(peer.sock, peer.interest)

    def run(self, peers=None, timeout=5, until=None, even_if_served=False, what="service"):
        """Serves all peers until those given, or all, have an outcome, or until() is true.

        even_if_served: waits for until() only.
        """
        awaited = self.peers if peers is None else peers
        deadline = time.monotonic() + seconds(timeout)
        while not (until and until()):
            if not even_if_served and all(peer.outcome for peer in awaited):
                return
            if time.monotonic() > deadline:
                stuck = [f"{peer.name} ({peer.sent} sent, {peer.got} back of {len(peer.payload)})"
                         for peer in awaited if peer.outcome is None]
                raise Stuck(f"waited in vain for {what}: " + ", ".join(stuck))
            self._turn(0.005 if until else 0.05)

    def look(self):
        """Notices what has come meanwhile, without waiting."""
        self._turn(0)

    def close(self):
        for peer in self.peers:
            peer.close()
        self._epoll.close()
