"""What each signal does that can reach the program: echopool(8)'s table, row by row.

Those that write(2) raises are also raised by what raises them.
"""

import contextlib
import os
import re
import signal
import termios
from pathlib import Path

import pytest

from harness import (EVENT_S, exec_wrapper, needs_plain_build, seconds, wait_for,
                     without_file)
from test_log_stuck import Reader

STOP = ["SIGTERM", "SIGINT"]
NOTHING = ["SIGPIPE", "SIGTTOU", "SIGXFSZ", "SIGCHLD", "SIGURG", "SIGWINCH", "SIGCONT"]
END = ["SIGQUIT", "SIGUSR2", "SIGALRM", "SIGVTALRM", "SIGPROF", "SIGXCPU", "SIGIO", "SIGPWR",
       "SIGSTKFLT", "SIGRTMIN", "SIGRTMAX", "SIGILL", "SIGTRAP", "SIGABRT", "SIGBUS", "SIGFPE",
       "SIGSEGV", "SIGSYS", "SIGKILL"]
SUSPEND = ["SIGSTOP", "SIGTSTP", "SIGTTIN"]
OTHER = ["SIGHUP", "SIGUSR1"]
NO_CORE = exec_wrapper("import resource as r; r.setrlimit(r.RLIMIT_CORE, (0, 0))")


def number_of(name):
    return getattr(signal, name)


def test_every_signal_has_its_row():
    rows = {number_of(name) for name in STOP + NOTHING + END + SUSPEND + OTHER}
    inner = set(range(signal.SIGRTMIN + 1, signal.SIGRTMAX))
    assert rows == signal.valid_signals() - inner


@pytest.mark.parametrize("name", NOTHING)
def test_nothing_comes_of_it(start, name):
    server = start({"pool.workers": 1})
    client = server.connect()
    client.echo()
    mark = server.log.mark()
    server.send_signal(number_of(name))
    client.echo()
    server.figures()
    assert len(server.log.matching("", mark)) == 3  # the figures


@needs_plain_build
@pytest.mark.parametrize("name", END)
def test_it_ends_as_any_program(start, name):
    server = start({"pool.workers": 1}, wrapper=NO_CORE)
    server.send_signal(number_of(name))
    assert server.wait_exit() == -number_of(name)


def test_stopped_by_sigstop_it_goes_on_at_sigcont(start):
    server = start()
    client = server.connect()
    server.suspend()
    client.send(b"later")
    server.send_signal(signal.SIGCONT)
    assert client.receive(5) == b"later"


# --- signals that come from a write to the log, or with a terminal

# The leader of a session on the terminal that is its standard error; the program is a background
# job of it. Status 99: the job was stopped.
SHELL = """
import fcntl, signal, termios
fcntl.ioctl(2, termios.TIOCSCTTY, 0)
pid = os.fork()
if pid == 0:
    os.setpgid(0, 0)
    os.execvp(sys.argv[1], sys.argv[1:])
status = os.waitpid(pid, os.WUNTRACED)[1]
if os.WIFSTOPPED(status):
    os.kill(pid, signal.SIGKILL)
    os._exit(99)
os._exit(os.waitstatus_to_exitcode(status) & 255)
"""


class Job:
    """A server in the background of a shell's terminal, seen from that terminal."""

    def __init__(self, launch, tostop):
        self.terminal = Reader("terminal")
        self.text = ""
        if tostop:
            self.stop_output()
        self.shell = launch(stderr=self.terminal.theirs, wrapper=exec_wrapper(SHELL),
                            start_new_session=True).process
        self.wait_line("ready on ")
        path = Path(f"/proc/{self.shell.pid}/task/{self.shell.pid}/children")
        self.pid = int(path.read_text(encoding="ascii"))

    def stop_output(self):
        """As stty tostop: a background job that writes to the terminal is stopped."""
        attributes = termios.tcgetattr(self.terminal.theirs)
        attributes[3] |= termios.TOSTOP
        termios.tcsetattr(self.terminal.theirs, termios.TCSANOW, attributes)

    def wait_line(self, pattern):
        def is_there():
            assert self.shell.poll() in (None, 0), "the job was stopped"
            self.text += self.terminal.drain()
            return re.search(pattern, self.text)

        wait_for(is_there, what=pattern)


@pytest.fixture
def job(launch):
    jobs = []

    def start_job(tostop=False):
        jobs.append(Job(launch, tostop))
        return jobs[-1]

    yield start_job
    for one in jobs:
        with contextlib.suppress(ProcessLookupError):
            if one.shell.poll() is None:
                os.kill(one.pid, signal.SIGKILL)
        one.terminal.close()


@pytest.mark.parametrize("before", [True, False], ids=["before-the-start", "later"])
def test_a_background_job_goes_on_where_output_stops_others(job, before):
    """stty tostop: SIGTTOU."""
    one = job(tostop=before)
    one.stop_output()
    os.kill(one.pid, signal.SIGUSR1)
    one.wait_line("queue waiting=")
    os.kill(one.pid, signal.SIGTERM)
    assert one.shell.wait(seconds(EVENT_S)) == 0


@pytest.mark.parametrize("name", ["SIGTSTP", "SIGTTIN"])
def test_job_control_stops_it(job, name):
    one = job()
    os.kill(one.pid, number_of(name))
    assert one.shell.wait(seconds(EVENT_S)) == 99


@needs_plain_build  # a sanitizer has files of its own
def test_a_log_file_as_long_as_it_may_be_does_not_end_it(launch, tmp_path):
    """ulimit -f: SIGXFSZ."""
    limit = exec_wrapper("import resource as r, signal; r.setrlimit(r.RLIMIT_FSIZE, (200, 200)); "
                         "signal.signal(signal.SIGXFSZ, signal.SIG_DFL)")
    with open(tmp_path / "log", "wb") as log:
        server = launch({"log.connections": True}, stderr=log, wrapper=limit).wait_listening()
    for _ in range(20):
        server.connect().echo()
    assert (tmp_path / "log").stat().st_size <= 200


def on_its_terminal(launch, **options):
    """A server that leads a session on a terminal of its own, as in a window of a desktop."""
    terminal = Reader("terminal")
    wrapper = options.pop("wrapper", [])
    take = exec_wrapper("import fcntl, termios; fcntl.ioctl(2, termios.TIOCSCTTY, 0)")
    server = launch(stderr=terminal.theirs, start_new_session=True, wrapper=[*take, *wrapper],
                    **options).wait_listening()
    os.close(terminal.theirs)
    terminal.theirs = None
    return server, terminal


def test_without_a_file_it_ends_with_its_terminal(launch):
    server, terminal = on_its_terminal(launch, **without_file("timeouts.drain=600"))
    client = server.connect()
    client.echo()
    terminal.close()
    wait_for(server.refuses)
    client.echo()
    client.close()
    assert server.wait_exit() == 0


@pytest.mark.parametrize("nohup", [True, False], ids=["nohup", "with-a-file"])
def test_it_stays_when_its_terminal_goes(launch, nohup):
    server, terminal = on_its_terminal(launch, **(without_file(nohup=True) if nohup else {}))
    terminal.close()
    for _ in range(20):
        server.connect().echo()
    server.send_signal(signal.SIGHUP)
    server.connect().echo()


def test_without_a_file_sighup_drains_and_a_second_one_changes_nothing(start):
    server = start(**without_file("timeouts.drain=600"))
    client = server.connect()
    client.echo()
    server.send_signal(signal.SIGHUP)
    server.log.wait("SIGHUP: draining")
    server.send_signal(signal.SIGHUP)
    server.log.wait("^warning: SIGHUP: draining")
    client.echo()
    server.insist()
