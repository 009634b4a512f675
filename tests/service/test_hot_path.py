"""What one echo, and one connection, costs: system calls.

bench/user_time.py tells how much of it is user time.
"""

import os
import re
import select
import shutil
import signal
import subprocess

import pytest

from clients import Crowd
from harness import MISSING, Lines, needs_plain_build, seconds

CLIENTS = 300


class Strace:
    """strace -f -c attached to a running program until stop() returns the number of its calls."""

    def __init__(self, pid, output):
        self.output = output
        self.process = subprocess.Popen(["strace", "-f", "-c", "-o", output, "-p", str(pid)],
                                        stderr=subprocess.PIPE, text=True)
        self.said = Lines(self.process.stderr)
        said = self.said.wait(r"attached|not permitted|ptrace")[0].string
        if "attached" not in said:
            self.process.wait(10)
            pytest.skip(f"needs to trace a process: {said}")

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        self.process.wait(60)
        self.said.wait_end()
        text = self.output.read_text(encoding="ascii")
        total = re.search(r"^\s*100\.00\s+\S+\s+(?:\S+\s+)?(\d+)\s.*total$", text, re.M)
        return int(total[1]), text


@needs_plain_build
@pytest.mark.skipif(not shutil.which("strace"), reason=MISSING + "strace")
def test_at_most_2_2_system_calls_for_an_echo(start, tmp_path):
    """Of messages that are there when the worker looks; how many come at once is the clients'."""
    server = start({"pool.workers": 2})
    crowd = server.hold(Crowd(server.address, CLIENTS))
    crowd.exchange()
    messages = crowd.messages()
    server.suspend()
    for fd, message in messages.items():
        assert os.write(fd, message) == len(message)
    strace = Strace(server.pid, tmp_path / "calls")
    try:
        server.send_signal(signal.SIGCONT)
        for fd, message in messages.items():
            assert select.select([fd], [], [], seconds(20))[0], "no echo"
            assert os.read(fd, 65536) == message
    finally:
        calls, text = strace.stop()
    assert calls / CLIENTS <= 2.2, f"{calls} calls for {CLIENTS} echoes\n{text}"


def calls_of(text, name):
    found = re.search(rf"^\s*[\d.]+\s+\S+\s+\S+\s+(\d+)\s(?:\s*\d+\s)?\s*{name}$", text, re.M)
    return int(found[1]) if found else 0


@needs_plain_build
@pytest.mark.skipif(not shutil.which("strace"), reason=MISSING + "strace")
def test_a_rush_is_accepted_without_a_poll_for_each(start, tmp_path):
    """Once the acceptor sees that several come at once, which it looks for now and then."""
    server = start({"pool.workers": 2})
    server.suspend()
    clients = [server.connect() for _ in range(CLIENTS)]
    for client in clients:
        client.send(b"here")
    strace = Strace(server.pid, tmp_path / "calls")
    try:
        server.send_signal(signal.SIGCONT)
        for client in clients:
            assert client.receive(4) == b"here"
    finally:
        _, text = strace.stop()
    calls = calls_of(text, "accept4") + calls_of(text, "poll")
    assert CLIENTS <= calls <= 1.25 * CLIENTS, text
