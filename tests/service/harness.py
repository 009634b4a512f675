"""Starts the program under test and looks at it from outside: its log, its figures, /proc.

The program is $ECHOPOOL, or build/echopool of this checkout. ECHOPOOL_TIME_FACTOR multiplies every
time bound (10 under sanitizers); memory and CPU are only asserted when it is 1. ECHOPOOL_ENGINE has
the servers wait with that engine.
"""

import contextlib
import functools
import os
import re
import resource
import secrets
import select
import shutil
import signal
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from clients import Client
from common.server import as_file, key_values

CHECKOUT = Path(__file__).resolve().parents[2]
PROGRAM = os.path.abspath(os.environ.get("ECHOPOOL", CHECKOUT / "build" / "echopool"))
TIME_FACTOR = float(os.environ.get("ECHOPOOL_TIME_FACTOR", "1"))
PLAIN = TIME_FACTOR == 1
FULL = os.environ.get("ECHOPOOL_FULL") == "1"
ENGINE = os.environ.get("ECHOPOOL_ENGINE")

SANITIZER_REPORT = re.compile(r"\w+Sanitizer|runtime error:")
MANAGED_ENVIRONMENT = ("NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES",
                       "JOURNAL_STREAM", "WATCHDOG_USEC", "WATCHDOG_PID")
LISTEN_STATE = "0A"
IORING_OP_SEND = 26  # <linux/io_uring.h>

# How reasons to skip a test begin; script/tally.py counts by what is before the colon.
MISSING = "needs a program that is not installed: "

needs_plain_build = pytest.mark.skipif(
    not PLAIN, reason="needs a build that nothing slows: ECHOPOOL_TIME_FACTOR is not 1")
needs_epoll = pytest.mark.skipif(
    ENGINE == "io_uring", reason="needs calls that a preloaded library sees, and io_uring has none")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

# What is one for the whole machine has a name of its own for each process of each run.
UNIQUE = secrets.token_hex(8)
# Limits of a user hold for all its processes, so this one too.
UNUSED_USER = 20_000 + secrets.randbelow(40_000)


def seconds(plain):
    """A time bound of the plain build, in seconds, made longer where the build is slower."""
    return plain * TIME_FACTOR


def span(plain):
    """A time within which a test's own clients must act, in seconds; slower builds run beside more.

    Not as long as seconds(), as such tests last as long as it.
    """
    return plain * min(TIME_FACTOR, 3)


# How long an event may take to come about on a slow and busy machine, in seconds.
EVENT_S = 30
TRIES = 5


class Late(AssertionError):
    """Something took too long: once, because other programs had the CPUs, or because it does."""


def check_time(took, most):
    """Fails as Late when took is more than most, both in seconds."""
    if took > most:
        raise Late(f"{took:.2f} s instead of at most {most:.2f} s")


@contextlib.contextmanager
def before(deadline):
    """What is inside holds only until deadline, a time.monotonic(): a failure later is Late."""
    try:
        yield
    except (AssertionError, OSError) as failure:
        if time.monotonic() < deadline:
            raise
        raise Late("the test itself was held up") from failure


def again_when_late(test):
    """Repeats a test, or a part of one, that is Late, and nothing else that fails.

    A program that is too slow is so at each of the tries; a machine that others use is not.
    """
    @functools.wraps(test)
    def tried(*arguments, **options):
        for _ in range(TRIES - 1):
            with contextlib.suppress(Late):
                return test(*arguments, **options)
        return test(*arguments, **options)

    return tried


def wait_for(predicate, timeout=EVENT_S, what="the condition"):
    """Polls predicate until it is true and returns its value; fails after timeout seconds."""
    deadline = time.monotonic() + seconds(timeout)
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come about in {seconds(timeout)} s")
        time.sleep(0.005)


@again_when_late
def assert_prompt(clients):
    """In the plain build an echo takes less than 0.2 s, and none takes 2 s.

    The median of 20, taken in turn from the clients, as other load on the machine delays a few.
    """
    clients = list(clients)
    times = [clients[i % len(clients)].echo() for i in range(max(20, len(clients)))]
    check_time(statistics.median(times), 0.2 if PLAIN else seconds(2))
    check_time(max(times), seconds(2))


def one_line(text):
    """What a program said, for a reason to skip a test."""
    return "; ".join(text.strip().splitlines())


def process_state(pid):
    """The letter that the kernel tells: R, S, T, Z, ..."""
    return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(") ", 1)[1][0]


def as_libconfig(value):
    """A Python value in the syntax of the configuration file."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, (list, tuple)):
        return "[ " + ", ".join(as_libconfig(item) for item in value) + " ]"
    return repr(value)


def fitting(settings):
    """Bounds for a pool where the defaults are too many for the descriptors of this machine.

    For what the settings leave open; else each start would tell of it.
    """
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    workers = settings.get("pool.workers") or len(os.sched_getaffinity(0))
    if hard == resource.RLIM_INFINITY or workers * 4096 + 1024 + 100 <= hard:
        return {}
    return {"pool.queue_limit": min(1024, hard // 5),
            "pool.worker_connections": max(1, min(4096, hard * 2 // 3 // workers))}


def configuration(settings):
    """The text of a configuration file with these settings, given as {"group.name": value}."""
    return as_file({path: as_libconfig(value) for path, value in settings.items()})


def environment(extra=None):
    """This process's environment without what a service manager may have put there, plus extra."""
    clean = {key: value for key, value in os.environ.items() if key not in MANAGED_ENVIRONMENT}
    return clean | (extra or {})


def run_program(*arguments, wrapper=(), env=None, timeout=EVENT_S, program=PROGRAM, **popen):
    """Runs the program to its end; the result has returncode, stdout and stderr."""
    return subprocess.run([*wrapper, program, *map(str, arguments)], capture_output=True,
                          text=True, env=environment(env), timeout=seconds(timeout),
                          check=False, **popen)


def error_lines(result):
    """What a finished program had to say, with no sanitizer report in it."""
    assert not SANITIZER_REPORT.search(result.stderr), result.stderr
    return result.stderr.splitlines()


def exec_wrapper(code):
    """A command prefix that runs a line of Python in the process that then becomes the program."""
    return [sys.executable, "-I", "-S", "-c",
            f"import os, sys\n{code}\nos.execvp(sys.argv[1], sys.argv[1:])"]


def without_file(*overrides, nohup=False):
    """Options for a server that has no -c: a free port of 127.0.0.1, and these overrides.

    With nohup it is started as by nohup(1).
    """
    bounds = [f"{path}={value}" for path, value in fitting({}).items()]
    ignore = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN); " if nohup else ""
    return {"wrapper": exec_wrapper(ignore + "del sys.argv[2:4]"),
            "overrides": ["listen.port=0", 'listen.addresses=["127.0.0.1"]', *bounds, *overrides]}


def unshared(namespace, script):
    """A command prefix: in a namespace of its own, which script sets up; skips where refused."""
    if not shutil.which("unshare"):
        pytest.skip(MISSING + "unshare")
    kind = {"--net": "network", "-n": "network"}.get(namespace, namespace.strip("-"))
    prefix = ["unshare", namespace, "sh", "-c", f'set -e; {script}; exec "$@"', "sh"]
    probe = subprocess.run([*prefix, "true"], capture_output=True, text=True, timeout=20,
                           check=False)
    if probe.returncode != 0:
        pytest.skip(f"needs a {kind} namespace: {one_line(probe.stderr)}")
    return prefix


class Lines:
    """Reads a descriptor to its end in a thread, and lets others wait for the lines that come."""

    def __init__(self, stream):
        self._lines = []
        self._ended = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._read, args=(stream,), daemon=True)
        self._thread.start()

    def _read(self, stream):
        with stream:
            for line in stream:
                with self._changed:
                    self._lines.append(line.rstrip("\n"))
                    self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def mark(self):
        """The number of lines so far: give it as start to look only at what comes later."""
        with self._changed:
            return len(self._lines)

    def matching(self, pattern="", start=0):
        """The lines so far that contain pattern."""
        with self._changed:
            return [line for line in self._lines[start:] if re.search(pattern, line)]

    def wait(self, pattern, count=1, start=0, timeout=EVENT_S):
        """Waits for count lines that contain pattern and returns their matches."""
        def enough():
            found = [re.search(pattern, line) for line in self._lines[start:]]
            found[:] = [match for match in found if match]
            return found if len(found) >= count else None

        with self._changed:
            self._changed.wait_for(lambda: enough() or self._ended, seconds(timeout))
            found = enough()
            tail = "\n".join(self._lines[start:][-30:])
        assert found, f"{count} x {pattern!r} did not come; the log:\n{tail}"
        return found

    def wait_end(self):
        """Waits until the writer has closed its side."""
        self._thread.join(seconds(EVENT_S))
        assert not self._thread.is_alive(), "someone still holds the log's descriptor"


def shared_bytes(workers, buffer_bytes):
    """How much memory the buffers that the connections of a worker share may take: io_uring's."""
    each = max(4 << 20, 8 * buffer_bytes) + buffer_bytes
    return workers * each if ENGINE == "io_uring" else 0


class Server:
    """One running program. finish() is called for each by the fixture that made it.

    settings go into a file, overrides ("path=value") are given with -o, wrapper is a command
    prefix that ends in exec, stderr a descriptor to use instead of the pipe that is read here.
    """

    def __init__(self, directory, settings=None, *, overrides=(), env=None, wrapper=(),
                 stderr=None, program=PROGRAM, **popen):
        self.file = directory / "echopool.conf"
        self.bounds = fitting(settings or {})  # a reload changes only what the test says
        self.configure(settings or {})
        command = [*wrapper, program, "-c", str(self.file)]
        for override in overrides:
            command += ["-o", override]
        self.clients = []
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE if stderr is None else stderr,
            env=environment(env), text=True, errors="replace", **popen)
        self.pid = self.process.pid
        self.log = Lines(self.process.stderr) if stderr is None else None
        self.addresses = []
        self.limits = {}
        self.first_descriptors = None
        self.first_parts = 0
        self.late_reloads = 0

    def configure(self, settings):
        """Puts a file with these settings, and a free port of 127.0.0.1, in place of the old."""
        chosen = {"listen.addresses": ["127.0.0.1"], "listen.port": 0}
        if ENGINE:
            chosen["pool.engine"] = ENGINE
        chosen |= self.bounds | settings
        new = self.file.with_suffix(".new")
        new.write_text(configuration(chosen))
        new.chmod(0o644)
        new.replace(self.file)

    def wait_ready(self):
        """Waits for the line that says the program listens, and keeps what it says."""
        self._read_ready()
        self.first_descriptors = self.descriptors()
        self.first_parts = self._parts_with_descriptors()
        return self

    def _read_ready(self, start=0):
        """Waits for a ready line and keeps what it says."""
        ready = self.log.wait(r"ready on (.*?);(.*)", start=start)[0]
        texts = [text.rsplit(":", 1) for text in ready[1].split(", ")]
        self.addresses = [(host.strip("[]"), int(port)) for host, port in texts]
        self.limits = key_values(ready[2])

    def _parts_with_descriptors(self):
        """How many descriptors the listeners and workers need that the ready line told."""
        return len(self.addresses) + 2 * self.limits["workers"] if self.limits else 0

    def reload(self, settings=None):
        """Sends SIGHUP, after configure() where there are settings; returns the lines it logs.

        The file was read, and applied or refused, when this returns. A reload whose child did not
        get the CPU within its two seconds is refused, rightly: it is tried again.
        """
        if settings is not None:
            self.configure(settings)
        for _ in range(TRIES):
            start = self.log.mark()
            self.send_signal(signal.SIGHUP)
            self._read_ready(start)
            lines = self.log.matching("", start)
            if not any("reading the file took more than" in line for line in lines):
                break
            self.late_reloads += 1
        return lines

    def wait_listening(self):
        """As wait_ready, for a program whose log cannot be read: finds its IPv4 port in /proc."""
        port = wait_for(self._listening_port, what="a listening socket")
        # The last to start; when it runs, everything has been opened.
        wait_for(lambda: "acceptor" in self._thread_names(), what="the acceptor")
        self.addresses = [("127.0.0.1", port)]
        self.first_descriptors = self.descriptors()
        return self

    def _listening_port(self):
        assert self.process.poll() is None, f"the program ended with {self.process.returncode}"
        held = self.descriptors().values()
        for line in self._proc("net/tcp").splitlines()[1:]:
            fields = line.split()
            if fields[3] == LISTEN_STATE and f"socket:[{fields[9]}]" in held:
                return int(fields[1].split(":")[1], 16)
        return None

    @property
    def address(self):
        return self.addresses[0]

    def connect(self, address=None):
        """A new client of this server; it is closed when the test ends."""
        client = Client.connect(address or self.address, timeout=seconds(20))
        self.clients.append(client)
        return client

    def hold(self, clients):
        """Has clients made elsewhere closed when the test ends."""
        self.clients.append(clients)
        return clients

    def send_signal(self, number):
        self.process.send_signal(number)

    def suspend(self):
        """Sends SIGSTOP and waits until every thread has stopped; SIGCONT lets it go on."""
        self.send_signal(signal.SIGSTOP)
        wait_for(lambda: self._thread_states() == {"T"}, what="all threads stopped")

    def _of_threads(self, name):
        """The file of this name in /proc of each thread."""
        texts = []
        for task in Path(f"/proc/{self.pid}/task").iterdir():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # one that has ended
                texts.append((task / name).read_text())
        return texts

    def _thread_names(self):
        return {name.strip() for name in self._of_threads("comm")}

    def _thread_states(self):
        return {stat.rsplit(")", 1)[1].split()[0] for stat in self._of_threads("stat")}

    def figures(self):
        """The answer to SIGUSR1: a list with a dictionary for each worker, and the queue's."""
        start = self.log.mark()
        self.send_signal(signal.SIGUSR1)
        workers = self.log.wait(r"\bworker=\d+ .*", count=self.limits["workers"], start=start)
        queue = self.log.wait(r"\bqueue (\w+=.*)", start=start)[0]
        return [key_values(match[0]) for match in workers], key_values(queue[1])

    def left_figures(self):
        """What SIGUSR1 tells of the workers that have left; None when none has."""
        start = self.log.mark()
        self.send_signal(signal.SIGUSR1)
        self.log.wait(r"\bworker=0 ", start=start)
        lines = self.log.matching(r"^info: left workers=", start)
        return key_values(lines[0]) if lines else None

    def connections(self):
        """How many connections the workers hold, or have handed on and nobody has fetched yet."""
        start = self.log.mark()
        workers = self.figures()[0]
        left = [key_values(line) for line in self.log.matching("^info: left workers=", start)]
        fetched = sum(each["handed_in"] for each in workers + left)
        handed_on = (sum(each["handed_out"] for each in left)
                     + sum(each["rebalanced"] for each in workers + left))
        return sum(worker["connections"] for worker in workers) + handed_on - fetched

    def _proc(self, name):
        return Path(f"/proc/{self.pid}/{name}").read_text(encoding="ascii", errors="replace")

    def threads(self):
        return len(os.listdir(f"/proc/{self.pid}/task"))

    def descriptors(self):
        """What is open: {number: what it is}."""
        found = {}
        for number in os.listdir(f"/proc/{self.pid}/fd"):
            try:
                found[int(number)] = os.readlink(f"/proc/{self.pid}/fd/{number}")
            except FileNotFoundError:
                pass
        return found

    def pending_clients(self):
        """How many clients have pending bytes: those for which room to write is waited for."""
        sets = [fd for fd, name in self.descriptors().items()
                if "eventpoll" in name or "io_uring" in name]
        told = "".join(self._proc(f"fdinfo/{fd}") for fd in sets)
        watched = re.findall(r"^tfd:.* events: *(\w+)", told, re.MULTILINE)
        sends = re.findall(rf"^ *op={IORING_OP_SEND},", told, re.MULTILINE)
        return sum(bool(int(events, 16) & select.EPOLLOUT) for events in watched) + len(sends)

    def make_pending(self, crowd, data, quiet=0.3):
        """Everybody sends data over and over and reads nothing, until all have pending bytes.

        Once for each crowd. Returns how many bytes each has sent.
        """
        wanted = self.pending_clients() + len(crowd.sockets)
        sent = crowd.fill(data, quiet)
        wait_for(lambda: self.pending_clients() >= wanted or not crowd.fill(data, quiet, sent),
                 what="that everybody has pending bytes")
        return sent

    def _cpu_s(self):
        """The CPU time used so far, finer than the kernel's ticks: clock_getcpuclockid(3)."""
        return time.clock_gettime((~self.pid << 3) | 2)

    def cpu_in(self, interval):
        """The CPU seconds that the program uses in the next interval seconds."""
        before = self._cpu_s()
        time.sleep(interval)
        return self._cpu_s() - before

    @again_when_late
    def assert_idle(self, share=0.05, interval=1.0):
        """In the plain build, at most share of one CPU is used; what was to do may be done later.
        """
        used = self.cpu_in(interval)
        check_time(used, share * interval if PLAIN else interval * os.cpu_count())

    def memory(self):
        """Private dirty memory in bytes: what the program itself has written to."""
        return int(re.search(r"Private_Dirty:\s+(\d+) kB", self._proc("smaps_rollup"))[1]) * 1024

    def refuses(self, address=None):
        """True when nobody listens any more."""
        try:
            # A listener that is about to close ignores newcomers for a moment.
            Client.connect(address or self.address, timeout=seconds(0.2)).close()
        except ConnectionRefusedError:
            return True
        except (ConnectionResetError, TimeoutError):
            pass
        return False

    def wait_exit(self, timeout=EVENT_S):
        """Waits for the end and returns the exit status."""
        status = self.process.wait(seconds(timeout))
        if self.log:
            self.log.wait_end()
        return status

    def stop(self, number=signal.SIGTERM, timeout=EVENT_S):
        """Sends the signal, expects exit status 0, and returns the seconds it took."""
        begin = time.monotonic()
        self.send_signal(number)
        status = self.wait_exit(timeout)
        assert status == 0, f"exit status {status}; the log:\n" + self._log_tail()
        return time.monotonic() - begin

    def insist(self, number=signal.SIGTERM, timeout=10):
        """Sends the signal to a server that drains until it ends: one that comes at once after the
        first is the same wish. Returns the seconds it took.
        """
        begin = time.monotonic()
        while time.monotonic() < begin + seconds(timeout):
            self.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(0.15)
                break
        assert self.wait_exit() == 0, "the log:\n" + self._log_tail()
        return time.monotonic() - begin

    def close_clients(self):
        for client in self.clients:
            client.close()
        self.clients.clear()

    def finish(self):
        """Ends the program, and fails if it had died, leaked a descriptor or has a report."""
        try:
            self.close_clients()
            if self.process.returncode is None:
                self._end_well()
            if self.log:
                report = self.log.matching(SANITIZER_REPORT.pattern)
                assert not report, self._log_tail()
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()

    def _end_well(self):
        status = self.process.poll()
        assert status is None, f"the server died with {status}; the log:\n" + self._log_tail()
        self.send_signal(signal.SIGCONT)  # a test that failed may have left it stopped
        if self.first_descriptors is not None:
            grown = self._parts_with_descriptors() - self.first_parts
            allowed = len(self.first_descriptors) + grown
            try:
                wait_for(lambda: len(self.descriptors()) <= allowed)
            except AssertionError:
                left = set(self.descriptors().items()) - set(self.first_descriptors.items())
                raise AssertionError(
                    f"{len(left)} descriptors left open: {sorted(left)[:5]}") from None
        self.stop()

    def _log_tail(self):
        return "\n".join(self.log.matching()[-40:]) if self.log else "(not read)"
