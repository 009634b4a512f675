"""The program with the injected library: start, watch through /proc, stop.

Everything is waited for with a bound; a wait that fails raises Stuck.
"""

import collections
import ctypes
import mmap
import os
import re
import select
import shlex
import signal
import socket
import struct
import subprocess
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parents[1]
PROGRAM = os.path.abspath(os.environ.get("ECHOPOOL", CHECKOUT / "build" / "echopool"))
TIME_FACTOR = float(os.environ.get("ECHOPOOL_TIME_FACTOR", "1"))

# The slots of the page before the counters (inject.c).
SLOT_FIRED, SLOT_WHERE, SLOT_PORT_V4, SLOT_PORT_V6, SLOT_CALLS = 1, 2, 3, 4, 5

# Sanitizers answer with a status that the program never has.
SANITIZER_STATUS = 99
QUIET_SECONDS = 0.012
# What a process may use of it and count as idle.
QUIET_CPU_NS = 100_000

LISTEN_FDS_START = 3


class Stuck(Exception):
    """Something that should have come did not come in time."""


def seconds(plain):
    """A bound of the plain build, made longer where the build is slower."""
    return plain * TIME_FACTOR


class Injector:
    """The library, built anew into a directory of its own; kinds are its kinds of calls."""

    def __init__(self):
        """Raises CalledProcessError when the compiler does."""
        self._directory = tempfile.TemporaryDirectory(prefix="echopool-faults.")
        self.path = os.path.join(self._directory.name, "inject.so")
        sources = [str(HERE / name) for name in ("inject.c", "inject_calls.c", "inject_memory.c")]
        compiler = shlex.split(os.environ.get("CC", "cc"))
        subprocess.run([*compiler, "-shared", "-fPIC", "-O2", "-std=gnu17", "-Wall", "-Wextra",
                        "-Wshadow", "-Wconversion", "-Werror", "-D_GNU_SOURCE",
                        "-o", self.path, *sources, "-ldl"], check=True)
        names = ctypes.c_char * 4096
        # A sanitizer's runtime must come before; what it allocates with is then not ours to fail.
        libraries = subprocess.run(["ldd", PROGRAM], check=True, capture_output=True,
                                   text=True).stdout
        runtimes = re.findall(r"=> (\S*/lib(?:asan|tsan|ubsan)\.\S+)", libraries)
        self.preload = " ".join([*runtimes, self.path])
        raw = ctypes.string_at(names.in_dll(ctypes.CDLL(self.path), "inject_names"))
        self.kinds = raw.decode().split()

    def close(self):
        self._directory.cleanup()


def _sanitizer_options(environment):
    """Has a sanitizer's report give a status of its own."""
    for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS", "LSAN_OPTIONS"):
        given = environment.get(name)
        extra = f"exitcode={SANITIZER_STATUS}"
        environment[name] = f"{given}:{extra}" if given else extra


class Page:
    """The counters that the library shares."""

    def __init__(self, path, kinds):
        self._slot_of = {kind: SLOT_CALLS + i for i, kind in enumerate(kinds)}
        size = 8 * (SLOT_CALLS + len(kinds))
        with open(path, "wb+") as file:
            file.truncate(size)
            self._map = mmap.mmap(file.fileno(), size)

    def _get(self, slot):
        return struct.unpack_from("=Q", self._map, 8 * slot)[0]

    @property
    def fired(self):
        return self._get(SLOT_FIRED)

    @property
    def where(self):
        return self._get(SLOT_WHERE)

    @property
    def ports(self):
        return self._get(SLOT_PORT_V4), self._get(SLOT_PORT_V6)

    def calls(self, kind):
        return self._get(self._slot_of[kind])

    def all_calls(self):
        return {kind: self._get(slot) for kind, slot in self._slot_of.items() if self._get(slot)}

    def close(self):
        self._map.close()


class Program:
    """One run of the program. Its standard error is read whenever something is waited for.

    plan are the FAULT_ variables; prepare(pid) runs in the child before the
    program and returns more of the environment; more_log is a socket that gets
    log lines too.
    """

    def __init__(self, injector, directory, arguments, plan, stderr_is_socket=False,
                 prepare=None, more_log=None):
        path = os.path.join(directory, "page")
        self.page = Page(path, injector.kinds)
        environment = {key: value for key, value in os.environ.items()
                       if key not in ("NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID",
                                      "LISTEN_FDNAMES", "JOURNAL_STREAM")}
        environment |= plan | {"FAULT_PAGE": path, "LD_PRELOAD": injector.preload}
        _sanitizer_options(environment)
        self.log = b""
        self.status = None
        self._more_log = more_log.fileno() if more_log else None
        self._log_fd, theirs = self._make_stderr(stderr_is_socket)
        self.pid = os.fork()
        if self.pid == 0:
            self._become(theirs, arguments, environment, prepare)
        os.close(theirs)
        self._end_fd = os.pidfd_open(self.pid)

    @staticmethod
    def _make_stderr(is_socket):
        if is_socket:
            ours, theirs = socket.socketpair()
            ours.setblocking(False)
            return ours.detach(), theirs.detach()
        ours, theirs = os.pipe()
        os.set_blocking(ours, False)
        return ours, theirs

    @staticmethod
    def _become(theirs, arguments, environment, prepare):
        try:
            null = os.open("/dev/null", os.O_RDWR)
            os.dup2(null, 0)
            os.dup2(null, 1)
            os.dup2(theirs, 2)
            if prepare:
                environment |= prepare(os.getpid()) or {}
            os.execve(PROGRAM, [PROGRAM, *arguments], environment)
        finally:
            os._exit(127)

    def read_log(self):
        """Takes what the program has written since."""
        for fd, end in ((self._log_fd, b""), (self._more_log, b"\n")):
            while fd is not None:
                try:
                    more = os.read(fd, 65536)
                except (BlockingIOError, ConnectionResetError):
                    break
                if not more:
                    break
                self.log += more + end

    def has_ended(self):
        """Whether the program has ended; its status is then known."""
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
                self.read_log()
        return self.status is not None

    def wait(self, condition, what, timeout=5):
        """Waits until condition() is true or the program has ended; looks after every event."""
        deadline = time.monotonic() + seconds(timeout)
        while not condition():
            if self.has_ended():
                return
            if time.monotonic() > deadline:
                raise Stuck(f"{what} did not come about in {seconds(timeout):g} s")
            select.select([self._end_fd], [], [], 0.001)
            self.read_log()

    def wait_log(self, pattern, what, start=0, timeout=5):
        """Waits until the log from byte start on has a match of the pattern."""
        self.wait(lambda: re.search(pattern, self.log[start:]), what, timeout)

    def wait_end(self, timeout=5):
        """Waits for the end of the program."""
        poller = select.poll()
        poller.register(self._end_fd, select.POLLIN)
        if not poller.poll(1000 * seconds(timeout)):
            raise Stuck(f"the program did not end in {seconds(timeout):g} s")
        self.has_ended()

    def send_signal(self, number):
        if not self.has_ended():
            signal.pidfd_send_signal(self._end_fd, number)

    def _cpu_ns(self):
        """The CPU time of the process; this is how clock_getcpuclockid(3) makes its clock."""
        return time.clock_gettime_ns((~self.pid << 3) | 2)

    def _threads_sleep(self):
        try:
            for task in os.listdir(f"/proc/{self.pid}/task"):
                with open(f"/proc/{self.pid}/task/{task}/stat", "rb") as stat:
                    if stat.read().rsplit(b")", 1)[1].split()[0] not in (b"S", b"Z", b"X"):
                        return False
        except (FileNotFoundError, ProcessLookupError):
            return False
        return True

    def is_quiet(self):
        """Whether every thread sleeps now and through the next moment."""
        try:
            before = self._cpu_ns()
            if not self._threads_sleep():
                time.sleep(0.001)
                return False
            time.sleep(QUIET_SECONDS)
            return self._threads_sleep() and self._cpu_ns() - before <= QUIET_CPU_NS
        except OSError:
            return False

    def wait_quiet(self, what):
        self.wait(self.is_quiet, what, timeout=3)

    def descriptors(self):
        """What is open, as a count of each sort: sockets have lost their numbers."""
        found = collections.Counter()
        try:
            for number in os.listdir(f"/proc/{self.pid}/fd"):
                try:
                    target = os.readlink(f"/proc/{self.pid}/fd/{number}")
                except FileNotFoundError:
                    continue
                found[re.sub(r"\[\d+\]", "", target)] += 1
        except (FileNotFoundError, ProcessLookupError):
            pass
        return found

    def threads(self):
        """The number of threads; 0 when it has ended."""
        try:
            return len(os.listdir(f"/proc/{self.pid}/task"))
        except FileNotFoundError:
            return 0

    def state(self):
        """Where each thread is, for the report of one that hangs."""
        lines = []
        for task in sorted(os.listdir(f"/proc/{self.pid}/task")):
            base = f"/proc/{self.pid}/task/{task}/"
            try:
                words = [Path(base + name).read_text(encoding="ascii").strip()
                         for name in ("comm", "wchan", "syscall")]
            except OSError:
                continue
            lines.append("  thread " + " ".join(words))
        return "\n".join(lines)

    def close(self):
        """Ends the program if it has not ended, and gives everything back."""
        if not self.has_ended():
            signal.pidfd_send_signal(self._end_fd, signal.SIGKILL)
            self.wait_end()
        os.close(self._end_fd)
        os.close(self._log_fd)
        self.page.close()
