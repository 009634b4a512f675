"""Long streams: every byte comes back, then EOF, also side by side and among short clients."""

import random
import threading

import pytest

from clients import Client, Stream, run_streams
from harness import FULL, seconds

MIB = 1 << 20
STREAM_BYTES = (64 if FULL else 16) * MIB


def stream(server, data, offset=0):
    return Stream(server.address, data, offset, seconds(20))


def test_64_mib_come_back_and_then_eof(start):
    server = start()
    data = random.Random(1).randbytes(64 * MIB)
    run_streams([stream(server, data)], seconds(60))


class ShortClients(threading.Thread):
    """One client after another: connect, echo, close."""

    def __init__(self, address, count):
        super().__init__()
        self.address = address
        self.count = count
        self.failure = None

    def run(self):
        try:
            for i in range(self.count):
                client = Client.connect(self.address, timeout=seconds(20))
                client.echo(b"short client %d" % i)
                client.close()
        except (OSError, AssertionError) as failure:
            self.failure = failure


def test_16_streams_at_once_while_300_short_clients_come_and_go(start):
    server = start({"pool.workers": 2})
    data = random.Random(2).randbytes(STREAM_BYTES)
    threads = [ShortClients(server.address, 100) for _ in range(3)]
    streams = [stream(server, data, 999_983 * i) for i in range(16)]
    for thread in threads:
        thread.start()
    try:
        run_streams(streams, seconds(100))
    finally:
        for thread in threads:
            thread.join()
    assert [thread.failure for thread in threads] == [None] * 3


@pytest.mark.parametrize("buffer_bytes", [1024, 16 * MIB])
def test_streams_with_the_smallest_and_the_largest_buffer(start, buffer_bytes):
    server = start({"pool.workers": 1, "limits.buffer_bytes": buffer_bytes})
    data = random.Random(3).randbytes(4 * MIB)
    run_streams([stream(server, data, 99_991 * i) for i in range(4)], seconds(60))
