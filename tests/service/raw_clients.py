"""TCP clients that keep to no rule: segments by hand, over a TUN device in the server's network.

A thread of the network reads what the server sends, and answers probes of a closed window as the
kernel of a hostile client would.
"""

import fcntl
import ipaddress
import os
import select
import struct
import threading

import pytest

from harness import seconds, unshared
from live import in_network_of

DEVICE = "echotest"
SERVER = {4: "10.77.0.1", 6: "fd77::1"}
NETWORK = (f"ip link set lo up; ip tuntap add dev {DEVICE} mode tun; "
           f"ip addr add {SERVER[4]}/16 dev {DEVICE}; ip link set {DEVICE} up; "
           f"ip addr add {SERVER[6]}/48 dev {DEVICE} nodad")
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454ca, 0x0001, 0x1000
FIN, SYN, RST, ACK = 1, 2, 4, 16
WINDOW_SCALE = 14


def raw_network():
    """A command prefix: in a network of its own, with the device. Skips where that is refused."""
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        pytest.skip("needs a TUN device: /dev/net/tun cannot be opened")
    return unshared("--net", NETWORK)


def _checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data[:len(data) & ~1]))
    if len(data) % 2:
        total += data[-1] << 8
    total = (total >> 16) + (total & 0xffff)
    return ~(total + (total >> 16)) & 0xffff


class Network:
    """The far side of the device: all hosts of its networks that are not the server."""

    def __init__(self, server):
        self._fd = in_network_of(server.pid, self._attach)
        self._clients = {}
        self._stop = os.eventfd(0)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @staticmethod
    def _attach():
        fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        name = struct.pack("16sH22x", DEVICE.encode(), IFF_TUN | IFF_NO_PI)
        fcntl.ioctl(fd, TUNSETIFF, name)
        return fd

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Resets what is left, and falls silent."""
        if self._fd < 0:
            return
        for client in self._clients.values():
            client.reset()
        os.eventfd_write(self._stop, 1)
        self._thread.join()
        os.close(self._stop)
        os.close(self._fd)
        self._fd = -1

    def client(self, source, port, server_port, **options):
        """A new client of the server, connected."""
        client = RawClient(self, source, port, server_port, **options)
        self._clients[client.key] = client
        client.connect()
        return client

    def write(self, packet):
        """Sends one packet; the device's queue may be full for a moment."""
        while True:
            try:
                os.write(self._fd, packet)
                return
            except BlockingIOError:
                select.select([], [self._fd], [])

    def _run(self):
        while True:
            ready = select.select([self._fd, self._stop], [], [])[0]
            if self._stop in ready:
                return
            try:
                packet = os.read(self._fd, 65536)
            except BlockingIOError:
                continue
            self._receive(packet)

    def _receive(self, packet):
        if packet[0] >> 4 == 4:
            header, protocol, target = (packet[0] & 15) * 4, packet[9], packet[16:20]
            packet = packet[:struct.unpack_from("!H", packet, 2)[0]]
        else:
            header, protocol, target = 40, packet[6], packet[24:40]
        if protocol != 6:
            return
        client = self._clients.get((target, packet[header + 2:header + 4]))
        if client:
            client.receive(packet[header:])


class RawClient:
    """One connection. What it does not do by itself: acknowledge data, unless acknowledges is set;
    it answers a probe of its closed window in either case.
    """

    def __init__(self, network, source, port, server_port, window=65535, scale=WINDOW_SCALE,
                 acknowledges=False):
        address = ipaddress.ip_address(source)
        self._network = network
        self._version = address.version
        self._source = address.packed
        self._target = ipaddress.ip_address(SERVER[self._version]).packed
        self._ports = struct.pack("!HH", port, server_port)
        self.key = (self._source, self._ports[:2])
        self.window, self._scale = window, scale
        self.acknowledges = acknowledges
        self.answers = True
        self.sequence = port << 16
        self._expected = 0
        self._acknowledged = self.sequence
        self._changed = threading.Condition()
        self.established = self.ended = False

    def _packet(self, flags, data, sequence, options=b""):
        length = 20 + len(options) + len(data)
        tcp = self._ports + struct.pack(
            "!IIBBHHH", sequence & 0xffffffff, self._expected & 0xffffffff,
            (20 + len(options)) // 4 << 4, flags, self.window, 0, 0) + options + data
        pseudo = self._source + self._target + struct.pack("!II", length, 6)
        tcp = tcp[:16] + struct.pack("!H", _checksum(pseudo + tcp)) + tcp[18:]
        if self._version == 6:
            return struct.pack("!IHBB", 6 << 28, length, 6, 64) + self._source + self._target + tcp
        ip = struct.pack("!BBHHHBBH", 0x45, 0, 20 + length, 0, 0x4000, 64, 6, 0)
        ip += self._source + self._target
        return ip[:10] + struct.pack("!H", _checksum(ip)) + ip[12:] + tcp

    def connect(self):
        """Shakes hands."""
        options = struct.pack("!BBHBBBB", 2, 4, 1400, 3, 3, self._scale, 1)
        self._network.write(self._packet(SYN, b"", self.sequence, options))
        with self._changed:
            assert self._changed.wait_for(lambda: self.established or self.ended, seconds(30))
        assert self.established, "the server refused the handshake"

    def send(self, data, skip=0, flags=ACK):
        """Sends a segment; with skip, out of order: that many bytes behind what was sent."""
        self._network.write(self._packet(flags, data, self.sequence + skip))
        if not skip:
            self.sequence += len(data) + bool(flags & FIN)

    def fill_window(self, count):
        """From now on acknowledges so many bytes that the server has sent, and takes no more."""
        self._expected += count
        self.window = 0

    def reset(self):
        """Breaks the connection off, where the server's kernel still has it."""
        self._network.write(self._packet(RST, b"", self._acknowledged))

    def wait_acknowledged(self):
        """Waits until the server's kernel has what was sent in order."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._acknowledged == self.sequence & 0xffffffff,
                                          seconds(30)), "the server took no more"

    def wait_end(self):
        """Waits until the server has reset the connection."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.ended, seconds(30)), "it was not reset"

    def receive(self, tcp):
        """What the server sent; called by the network's thread."""
        sequence, acknowledged = struct.unpack_from("!II", tcp, 4)
        flags, data = tcp[13], tcp[tcp[12] >> 4 << 2:]
        with self._changed:
            if flags & RST:
                self.ended = True
            elif flags & SYN:
                self._expected = sequence + 1
                self.sequence += not self.established
                self.established = True
            elif self.acknowledges and sequence == self._expected & 0xffffffff:
                self._expected += len(data) + bool(flags & FIN)
            self._acknowledged = acknowledged
            self._changed.notify_all()
        if not flags & RST and self.answers and (
                flags & SYN or data or flags & FIN or not self.window):
            self._network.write(self._packet(ACK, b"", self.sequence))
