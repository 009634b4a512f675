"""Starts a server to be measured, watches it from outside, and stops it.

    with Server([program, str(port)], port, name="epoll loop", ready="^ready$") as server:
        with Watch(server) as watch:
            load.run(echoload, server.target, connections=50, server=server.pid)
        print(watch.memory_bytes)

    with echopool(program, "config/echopool.conf", ["pool.workers=2"]) as server:
        print(server.figures()["queue"]["wait_us_p99"])

Each server has its own process group, so that Ctrl-C reaches only the script, which then stops the
server and its children. It stays in the script's session: the kernel may schedule sessions as
groups (sched_autogroup), and would then give server and generator half of the CPUs each.
"""

import os
import random
import re
import signal
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path

from common import child, interrupt, process

HOST = "127.0.0.1"
START_S = 20
STOP_S = 10
POLL_S = 0.002
# Well-known services are below.
LOWEST_PORT = 10000
PORTS_TRIED = 20

# The load comes from one address of this machine, and the script reads the log.
FOR_BENCH = (f'listen.addresses=["{HOST}"]', "limits.connections_per_ip=0",
             'access.allow=["0.0.0.0/0"]', "access.deny=[]", "log.target=stderr", "log.level=info")


class ServerFailed(Exception):
    """The server did not start, did not answer, or died; the text says which and why."""


def free_port():
    """A TCP port on which nobody listens, for servers that cannot choose one.

    It is outside of the kernel's range for clients: of thousands, one would soon take it.
    """
    text = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii")
    low, high = map(int, text.split())
    ports = [*range(LOWEST_PORT, low), *range(high + 1, 65536)]
    for port in random.sample(ports, min(len(ports), PORTS_TRIED)) + [0]:
        with socket.socket() as sock:
            try:
                sock.bind((HOST, port))
            except OSError:
                continue
            return sock.getsockname()[1]
    raise ServerFailed("no port is free")


def key_values(line):
    """The key=value words of a log line as a dictionary; whole numbers become int."""
    found = dict(re.findall(r"(\w+)=(\S+)", line))
    return {key: int(value) if value.isdigit() else value for key, value in found.items()}


class Server:
    """A server process; a context manager that starts it, waits until it is ready, and stops it.

    command: the program and its arguments. port: where it listens on 127.0.0.1; 0: the ready line
    says it. name: for messages. ready: a regular expression for a line of its output, whose first
    group, if any, is the port; None: it is ready when the port accepts a connection.
    """

    def __init__(self, command, port, *, name=None, ready=None):
        self.command = [str(word) for word in command]
        self.port = port
        self.name = name or os.path.basename(self.command[0])
        self.ready = ready
        self.process = None
        with interrupt.held():
            self._directory = tempfile.TemporaryDirectory(prefix="echopool-bench-")
        self.directory = Path(self._directory.name)
        self.log = self.directory / "log"

    def __enter__(self):
        try:
            self._start()
            self._wait_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()

    @property
    def pid(self):
        return self.process.pid

    @property
    def target(self):
        """Its address as echoload takes it."""
        return f"{HOST}:{self.port}"

    def _start(self):
        try:
            with interrupt.held(), open(self.log, "wb") as log:
                self.process = child.start(self.command, stdout=log, stderr=log)
        except OSError as error:
            raise ServerFailed(f"{self.name}: {error.strerror}: {self.command[0]}") from None

    def _wait_ready(self):
        if self.ready is None:
            self.wait_until(self._accepts, "a listening port")
            return
        line = self.wait_line(self.ready, 0)
        if line.groups():
            self.port = int(line[1])

    def _accepts(self):
        try:
            with socket.create_connection((HOST, self.port), timeout=1) as sock:
                return sock.getsockname() != sock.getpeername()  # else it met itself
        except OSError:
            return False

    def mark(self):
        """The length of the log in bytes; wait_line() takes it as its start."""
        return self.log.stat().st_size

    def output(self, start=0):
        """The whole lines that it has written since start."""
        with open(self.log, "rb") as log:
            log.seek(start)
            return log.read().rpartition(b"\n")[0].decode("utf-8", "replace")

    def wait_line(self, pattern, start):
        """Waits for a line with pattern in its output after start; returns the match."""
        regex = re.compile(pattern, re.MULTILINE)
        return self.wait_until(lambda: regex.search(self.output(start)), f"a line with {pattern}")

    def wait_until(self, predicate, what):
        """Waits until predicate() is true and returns its value; ServerFailed after 20 s."""
        deadline = time.monotonic() + START_S
        while True:
            value = predicate()
            if value:
                return value
            status = self.process.poll()
            if status is not None:
                raise ServerFailed(f"{self.name} ended with status {status}: {self._last_words()}")
            if time.monotonic() > deadline:
                raise ServerFailed(f"{self.name}: no {what} in {START_S} s: {self._last_words()}")
            time.sleep(POLL_S)

    def _last_words(self):
        return "; ".join(self.output().splitlines()[-3:]) or "it wrote nothing"

    def memory_bytes(self):
        """Resident memory now (Pss), of the process and its descendants."""
        return process.memory_bytes(self.pid)

    def context_switches(self):
        """(voluntary, involuntary) so far, of all living threads of it and its descendants."""
        return process.context_switches(self.pid)

    def stop(self):
        """Sends SIGTERM, after 10 s SIGKILL, and kills what is left of its process group."""
        with interrupt.held():
            if self.process is not None:
                self._end_process()
                self.process = None
            self._directory.cleanup()

    def _end_process(self):
        self.process.terminate()
        try:
            self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            pass
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()


class Watch:
    """What a server used while the block ran; read it after the block.

    memory_bytes is the highest that was seen; voluntary and involuntary are context switches.
    """

    INTERVAL_S = 0.2

    def __init__(self, server):
        self._server = server
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self.memory_bytes = self.voluntary = self.involuntary = 0

    def __enter__(self):
        self._switches = self._server.context_switches()
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._end.set()
        self._thread.join()
        now = self._server.context_switches()
        # The counts of threads that have ended are missing.
        self.voluntary, self.involuntary = (max(0, a - b) for a, b in zip(now, self._switches))

    def _sample(self):
        pause = 0
        while not self._end.wait(pause):
            begin = time.monotonic()
            self.memory_bytes = max(self.memory_bytes, self._server.memory_bytes())
            # Reading a thousand processes takes long, and must not slow the server.
            pause = max(self.INTERVAL_S, 20 * (time.monotonic() - begin))


def settings(program, config=None, overrides=()):
    """The settings that this file and these -o overrides give: {path: value as in the file}.

    ServerFailed has echopool's own message about a wrong file or override.
    """
    command = [str(program), "-T", *_arguments(config, overrides)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=START_S,
                              stdin=subprocess.DEVNULL, check=False)
    except OSError as error:
        raise ServerFailed(f"{program}: {error.strerror}") from None
    if done.returncode != 0:
        raise ServerFailed(done.stderr.strip())
    return dict(line.split("=", 1) for line in done.stdout.splitlines())


def _arguments(config, overrides):
    """The options of echopool for a file (None: the defaults) and overrides ("path=value")."""
    words = ["-c", str(config)] if config else []
    for override in overrides:
        words += ["-o", override]
    return words


def as_file(values):
    """The text of a configuration file with these values, which are as settings() returns them."""
    groups = {}
    for path, value in values.items():
        group, name = path.split(".")
        groups.setdefault(group, []).append(f"    {name} = {value};\n")
    return "".join(f"{group}:\n{{\n{''.join(lines)}}};\n" for group, lines in groups.items())


class EchoPool(Server):
    """echopool itself. With values it runs on its own file, which reload() rewrites."""

    READY = r"^info: ready on [^;]*:(\d+)[,;]"
    REFUSED = r"^error: reload: .*$"

    def __init__(self, program, arguments, *, values=None):
        super().__init__([program], 0, name="echopool", ready=self.READY)
        self._values = values
        if values is not None:
            arguments = ["-c", self._write_file()]
        self.command += map(str, arguments)

    def _write_file(self):
        path = self.directory / "echopool.conf"
        path.write_text(as_file(self._values), encoding="utf-8")
        return path

    def figures(self):
        """Its figures now: {"workers": [{...}], "queue": {...}, "reload": {...}}.

        The waits in the queue (wait_us_p50 and so on) are those since the previous call.
        """
        workers = re.findall(r"; workers=(\d+) ", self.output(0))[-1]
        start = self.mark()
        os.kill(self.pid, signal.SIGUSR1)
        self.wait_line(rf"^info: worker={int(workers) - 1} ", start)
        found = {"workers": []}
        for line in self.output(start).splitlines():
            if line.startswith("info: worker="):
                found["workers"].append(key_values(line))
            elif line.startswith(("info: queue ", "info: reload applied=")):
                found[line.split()[1]] = key_values(line)
        return found

    def reload(self, changes):
        """Applies {path: value as in the file} by SIGHUP; it must run on its own file."""
        self._values.update(changes)
        self._write_file()
        start = self.mark()
        os.kill(self.pid, signal.SIGHUP)
        self.wait_line(f"{self.READY}|{self.REFUSED}", start)
        refused = re.search(self.REFUSED, self.output(start), re.MULTILINE)
        if refused:
            raise ServerFailed(f"echopool did not apply {changes}: {refused[0]}")


def echopool(program, config=None, overrides=(), *, live=False):
    """echopool on the operator's file with -o overrides, ready to be entered; see Server.

    It listens on a free port of 127.0.0.1, for any number of clients, and logs where the script can
    read it; all else is as the file and overrides say. live: it runs on a copy of the file, so that
    reload() can change settings.
    """
    chosen = [*overrides, *FOR_BENCH, "listen.port=0"]
    if live:
        return EchoPool(program, [], values=settings(program, config, chosen))
    return EchoPool(program, _arguments(config, chosen))
