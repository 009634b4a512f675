"""Reload: every setting takes effect, all or nothing; storms, stops, and broken children.

Addresses are in test_reload_listeners.py, wrong files in test_config_files.py.
"""

import contextlib
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import time

import pytest

from clients import Crowd, need_descriptors
from harness import (ENGINE, FULL, PLAIN, PROGRAM, again_when_late, before, check_time,
                     exec_wrapper, needs_plain_build, needs_root, process_state, seconds,
                     shared_bytes, unshared, wait_for, without_file)
from live import client_from, is_closed, served
from load import Load
from preload import build
from test_socket_options import sockets
from test_syslog import with_dev_log

TEXTBOOK = {"pool.workers": 1, "pool.worker_connections": 1, "timeouts.idle": 0,
            "timeouts.idle_when_full": 0}
STAY = "the settings stay as they are"
CHILD_S = 1.9  # a little less than the child has


def changes(lines):
    """What these lines say has changed: {path: (old, new)}."""
    found = [re.match(r"info: reload: (\S+) changed from (.*) to (.*)$", line) for line in lines]
    return {match[1]: (match[2], match[3]) for match in found if match}


def reloads(server):
    """How many were applied, and how many refused for another reason than a late child."""
    mark = server.log.mark()
    server.figures()
    told = server.log.wait(r"\breload applied=(\d+) refused=(\d+)$", start=mark)[0]
    return int(told[1]), int(told[2]) - server.late_reloads


def queue_figures(server):
    return server.figures()[1]


def worker_figure(server, key):
    return sum(worker[key] for worker in server.figures()[0])


def waiting_client(server):
    """A new client that has sent x and waits in the queue."""
    before = queue_figures(server)["waiting"]
    client = server.connect()
    client.send(b"x")
    wait_for(lambda: queue_figures(server)["waiting"] == before + 1)
    return client


def test_workers(start):
    server = start({"pool.workers": 1})
    client = served(server)
    beside = server.threads() - 1
    for workers in (3, 2, 5, 1):
        server.reload({"pool.workers": workers})
        assert server.limits["workers"] == workers
        wait_for(lambda wanted=beside + workers: server.threads() == wanted)
        client.echo()
        served(server)


def test_worker_connections(start):
    server = start(TEXTBOOK)
    first = served(server)
    second = waiting_client(server)
    server.reload(TEXTBOOK | {"pool.worker_connections": 2})
    assert second.receive(1) == b"x"
    server.reload(TEXTBOOK)
    first.echo()
    second.echo()
    second.close()
    third = waiting_client(server)
    first.close()
    assert third.receive(1) == b"x"


def test_queue_limit(start):
    settings = TEXTBOOK | {"pool.queue_full": "reject"}
    server = start(settings | {"pool.queue_limit": 1})
    served(server)
    waiting_client(server)
    assert is_closed(server.connect(), within=seconds(20))
    server.reload(settings | {"pool.queue_limit": 3})
    waiting_client(server)
    waiting_client(server)
    assert is_closed(server.connect(), within=seconds(20))
    server.reload(settings | {"pool.queue_limit": 1})
    assert is_closed(server.connect(), within=seconds(20))
    figures = queue_figures(server)
    assert (figures["waiting"], figures["rejected"]) == (3, 3)


def test_queue_full(start):
    settings = TEXTBOOK | {"pool.queue_limit": 1}
    server = start(settings)
    served(server)
    waits = waiting_client(server)
    late = server.connect()
    assert not late.hears(within=0.2)
    server.reload(settings | {"pool.queue_full": "reject"})
    assert is_closed(late, within=seconds(20))
    assert not waits.hears(within=0)
    server.reload(settings)
    assert not server.connect().hears(within=0.2)


def pending_bytes(server):
    return worker_figure(server, "received_bytes") - worker_figure(server, "sent_bytes")


def test_buffer_bytes(start):
    server = start({"pool.workers": 1, "limits.buffer_bytes": 1024, "timeouts.write": 0})
    first = server.hold(Crowd(server.address, 1))
    wait_for(lambda: first.fill(os.urandom(1 << 16)) and pending_bytes(server))
    assert pending_bytes(server) <= 1024
    first.close()
    wait_for(lambda: server.connections() == 0)
    lost = pending_bytes(server)
    server.reload({"pool.workers": 1, "limits.buffer_bytes": 1 << 20, "timeouts.write": 0})
    second = server.hold(Crowd(server.address, 1))
    wait_for(lambda: second.fill(os.urandom(1 << 16)) and pending_bytes(server) > lost)
    assert 1024 < pending_bytes(server) - lost <= 1 << 20


def test_connections_per_ip(start):
    server = start()
    first = served(server)
    served(server)
    server.reload({"limits.connections_per_ip": 3})
    served(server)
    assert is_closed(server.connect(), within=seconds(20))
    client_from(server, "127.0.0.5").echo()
    server.reload()
    first.echo()
    server.reload({})
    served(server)


def test_idle(start):
    server = start({"timeouts.idle": 0})
    client = served(server)
    server.reload({"timeouts.idle": 0.3})
    assert is_closed(client, within=seconds(20))
    wait_for(lambda: worker_figure(server, "idle") == 1)
    server.reload({"timeouts.idle": 0})
    assert not served(server).hears(within=0.6)


def test_idle_when_full(start):
    server = start(TEXTBOOK)
    holder = served(server)
    waits = waiting_client(server)
    server.reload(TEXTBOOK | {"timeouts.idle_when_full": 0.2})
    assert waits.receive(1) == b"x"
    assert is_closed(holder, within=seconds(20))
    wait_for(lambda: worker_figure(server, "idle_when_full") == 1)


def test_a_short_idle_alone_is_right_on_reload_as_at_start(start):
    """idle_when_full is longer by default: only where both are written is that a mistake."""
    server = start({"timeouts.idle": 1})
    lines = server.reload({"timeouts.idle": 2})
    assert changes(lines) == {"timeouts.idle": ("1.0", "2.0")}, lines


def test_queue_timeout(start):
    server = start(TEXTBOOK | {"timeouts.queue": 0})
    holder = served(server)
    waits = waiting_client(server)
    server.reload(TEXTBOOK | {"timeouts.queue": 0.2})
    assert is_closed(waits, within=seconds(20))
    wait_for(lambda: queue_figures(server)["expired"] == 1)
    holder.echo()


def test_write_timeout(start):
    server = start({"timeouts.write": 0, "pool.workers": 1})
    crowd = server.hold(Crowd(server.address, 3))
    server.make_pending(crowd, os.urandom(1 << 16))
    server.reload({"timeouts.write": 0.3, "pool.workers": 1})
    wait_for(lambda: worker_figure(server, "write_timeout") == 3)


@again_when_late
def test_drain(start):
    server = start({"timeouts.drain": 600})
    served(server)
    server.reload({"timeouts.drain": 0})
    check_time(server.stop(), seconds(2))


@pytest.mark.parametrize("path, level, option",
                         [("tcp.nodelay", socket.IPPROTO_TCP, socket.TCP_NODELAY),
                          ("tcp.keepalive", socket.SOL_SOCKET, socket.SO_KEEPALIVE)])
def test_tcp_options_of_new_connections(start, path, level, option):
    server = start({path: True})
    for wanted in (False, True):
        server.reload({path: wanted})
        client = served(server)
        copies = sockets(server)
        name = client.sock.getsockname()
        [accepted] = [sock for sock in copies[False] if sock.getpeername() == name]
        assert bool(accepted.getsockopt(level, option)) == wanted
        for sock in copies[True] + copies[False]:
            sock.close()


@pytest.mark.parametrize("closing", [{"access.allow": ["127.0.0.5"]},
                                     {"access.deny": ["127.0.0.1"]},
                                     {"access.allow": ["0.0.0.0/0"],
                                      "access.deny": ["127.0.0.0/30", "::/0"]}])
def test_access(start, closing):
    server = start()
    before = served(server)
    server.reload(closing)
    assert is_closed(server.connect(), within=seconds(20))
    client_from(server, "127.0.0.5").echo()
    before.echo()
    assert queue_figures(server)["denied"] == 1
    server.reload({})
    served(server)


def test_lists_of_1024_ranges(start):
    ranges = [f"10.{i // 256}.{i % 256}.0/24" for i in range(1023)]
    server = start()
    lines = server.reload({"access.allow": ranges + ["127.0.0.1"],
                           "access.deny": ranges + ["::1"]})
    assert set(changes(lines)) == {"access.allow", "access.deny"}
    served(server)
    assert is_closed(client_from(server, "127.0.0.5"), within=seconds(20))


@needs_root
def test_log_target(launch, short_path):
    path = short_path / "log"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(path))
        sock.settimeout(seconds(10))
        server = launch(wrapper=with_dev_log(path)).wait_ready()
        server.configure({"log.target": "syslog"})
        server.send_signal(signal.SIGHUP)
        said = []
        while not said or "ready on" not in said[-1]:
            said.append(sock.recv(4096).decode())
        assert any("log.target changed" in line for line in said), said
    server.log.wait("SIGHUP: reading")
    mark = server.log.mark()
    server.reload({})
    assert not server.log.matching("SIGHUP", mark)
    served(server)
    # The socket that leads to syslog is kept.
    server.first_descriptors = server.descriptors()


def test_log_level(start):
    """Lines are told from the same event: SIGUSR1 gives info, a wrong file gives an error."""
    server = start({"log.connections": True})
    port = server.address[1]
    mark = server.log.mark()
    quiet = {"listen.port": port, "listen.addresses": ["127.0.0.2"], "log.level": "error"}
    server.configure(quiet)
    server.send_signal(signal.SIGHUP)
    wait_for(lambda: not server.refuses(("127.0.0.2", port)))
    wait_for(lambda: server.refuses(("127.0.0.1", port)))
    server.log.wait("log.connections changed", start=mark)
    mark = server.log.mark()
    server.connect(("127.0.0.2", port)).echo()
    server.send_signal(signal.SIGUSR1)
    server.file.write_text("wrong")
    server.send_signal(signal.SIGHUP)
    server.log.wait(STAY, start=mark)
    assert all(line.startswith("error: ") for line in server.log.matching("", mark))
    server.reload({"listen.port": port, "log.level": "debug"})
    server.figures()


def test_log_connections(start):
    server = start()
    served(server).close()
    server.reload({"log.connections": True})
    client = served(server)
    server.log.wait(f"connection accepted peer={client.name} ")
    name = client.name
    client.close()
    server.log.wait(f"connection closed peer={name} ")
    server.reload({})
    mark = server.log.mark()
    served(server).close()
    wait_for(lambda: server.connections() == 0)
    assert not server.log.matching("connection (accepted|closed)", mark)


def test_the_log_lists_each_changed_setting_with_old_and_new_value(start):
    server = start({"pool.workers": 2, "timeouts.drain": 1.5})
    lines = server.reload({"pool.workers": 3, "timeouts.drain": 0.25, "pool.queue_full": "reject",
                           "access.deny": ["10.0.0.0/8"], "tcp.nodelay": False})
    assert changes(lines) == {
        "pool.workers": ("2", "3"), "timeouts.drain": ("1.5", "0.25"),
        "pool.queue_full": ('"wait"', '"reject"'), "tcp.nodelay": ("true", "false"),
        "access.deny": ("[ ]", '[ "10.0.0.0/8" ]')}
    assert changes(server.reload()) == {}
    assert reloads(server) == (2, 0)


def test_the_command_line_wins_over_the_file(start):
    server = start({"pool.queue_limit": 5}, overrides=["pool.workers=2", "pool.workers=3"])
    lines = server.reload({"pool.workers": 4, "pool.queue_limit": 6})
    assert (server.limits["workers"], server.limits["queue_limit"]) == (3, 6)
    assert changes(lines) == {"pool.queue_limit": ("5", "6")}


def test_without_a_file_under_nohup_sighup_says_so(start):
    server = start(**without_file(nohup=True))
    mark = server.log.mark()
    server.send_signal(signal.SIGHUP)
    line = server.log.wait("SIGHUP.*", start=mark)[0].string
    assert line.startswith("warning: ") and "-c" in line
    served(server)
    assert reloads(server) == (0, 0)


def test_while_draining_the_file_is_not_read_again(start):
    server = start({"timeouts.drain": 600})
    client = served(server)
    server.send_signal(signal.SIGTERM)
    wait_for(server.refuses)
    mark = server.log.mark()
    server.send_signal(signal.SIGHUP)
    server.log.wait("^warning: SIGHUP.*drain", start=mark)
    client.echo()
    client.close()
    assert server.wait_exit() == 0


def test_a_storm_of_1000_is_coalesced_and_the_last_file_wins(start):
    need_descriptors(3 * 4096 + 1000 + 100)
    server = start({"pool.workers": 2})
    client = served(server)
    mark = server.log.mark()
    for i in range(1000):
        if i % 10 == 9:
            server.configure({"pool.workers": 1 + i % 3, "pool.queue_limit": i + 1})
        server.send_signal(signal.SIGHUP)
        if i % 100 == 0:
            client.echo()
    server.log.wait("ready on .* queue_limit=1000 engine=", start=mark)
    server.reload()
    assert server.limits == {"workers": 1, "worker_connections": 4096, "queue_limit": 1000,
                             "engine": ENGINE or "epoll"}
    applied, refused = reloads(server)
    assert applied < 900 and refused == 0
    client.echo()
    served(server)


def test_1000_signals_at_once_read_the_file_twice_at_most(start):
    server = start({"pool.workers": 1})
    mark = server.log.mark()
    server.suspend()
    for _ in range(1000):
        server.send_signal(signal.SIGHUP)
    server.configure({"pool.workers": 2})
    server.send_signal(signal.SIGCONT)
    server.log.wait("ready on .* workers=2 ", start=mark)
    assert reloads(server)[0] <= 2
    server.limits["workers"] = 2


@pytest.mark.parametrize("delay_ms", [0, 1, 2, 4, 8])
def test_sigterm_behind_sighup_wins(start, delay_ms):
    """The delays put it into different moments of the reload."""
    server = start({"pool.workers": 3, "timeouts.drain": 600})
    server.configure({"pool.workers": 1, "timeouts.drain": 600})
    if delay_ms == 0:
        # Both are there when it looks.
        server.suspend()
    server.send_signal(signal.SIGHUP)
    time.sleep(delay_ms / 1000)
    server.send_signal(signal.SIGTERM)
    server.send_signal(signal.SIGCONT)
    assert server.wait_exit() == 0
    assert not server.log.matching("^error")


def children(server):
    """The processes that the program has started and that are past exec(2)."""
    return [pid for pid in all_children(server) if name_of(pid) == "exe"]


def all_children(server):
    """The processes that are the program's, those included that have ended."""
    path = f"/proc/{server.pid}/task/{server.pid}/children"
    if not os.path.exists(path):
        pytest.skip("needs CONFIG_PROC_CHILDREN: the kernel does not tell a process's children")
    with open(path, encoding="ascii") as file:
        return [int(pid) for pid in file.read().split()]


def name_of(pid):
    """What a process is called: /proc/self/exe makes it exe. None: it has gone."""
    try:
        with open(f"/proc/{pid}/comm", encoding="ascii") as file:
            return file.read().strip()
    except (FileNotFoundError, ProcessLookupError):
        return None


def has_gone(pid):
    """Whether a process has ended, be it that the one who is to reap it is slow."""
    try:
        return process_state(pid) == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


@pytest.fixture
def catch_child():
    """A function that has a server reload, and stops the child before it has read the file."""
    caught = []

    def stop_child(server):
        for _ in range(200):
            found = []
            mark = server.log.mark()
            server.send_signal(signal.SIGHUP)
            deadline = time.monotonic() + seconds(0.1)
            while not found and time.monotonic() < deadline:
                found = children(server)
            if found and is_stopped(found[0]):
                caught.append(found[0])
                # A line that is read here only later would count as one after the caller's mark.
                server.log.wait("SIGHUP: reading", start=mark)
                return found[0]
            # Otherwise the next SIGHUP might be kept for later.
            server.log.wait("ready on", start=mark)
        return pytest.fail("the child was never there long enough")

    def is_stopped(pid):
        """Stops a process; False if it had ended before that."""
        try:
            os.kill(pid, signal.SIGSTOP)
            wait_for(lambda: process_state(pid) in "TZ")
            return process_state(pid) == "T"
        except (ProcessLookupError, FileNotFoundError):
            return False

    yield stop_child
    for pid in caught:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


@again_when_late
def test_a_child_that_hangs_is_ended_after_two_seconds(start, catch_child):
    server = start({"pool.workers": 1})
    queue_limit = server.limits["queue_limit"]
    client = served(server)
    server.configure({"pool.workers": 1, "pool.queue_limit": 5})
    child = catch_child(server)
    begin = time.monotonic()
    mark = server.log.mark()
    with before(begin + 1):
        for _ in range(20):
            asked = time.monotonic()
            server.figures()
            check_time(time.monotonic() - asked, seconds(0.5))
            check_time(client.echo(), seconds(0.5))
        assert not server.log.matching(STAY, mark) or not PLAIN
    server.log.wait("ready on", start=mark)
    assert 1 < time.monotonic() - begin  # its time began as it was started
    assert server.log.matching("^error: reload: .*2000 ms", mark)
    assert server.log.matching(STAY, mark)
    wait_for(lambda: not os.path.exists(f"/proc/{child}"))
    assert server.limits["queue_limit"] == queue_limit != 5
    server.reload()
    assert server.limits["queue_limit"] == 5


@again_when_late
def test_sighup_while_a_child_hangs_reads_the_file_once_more(start, catch_child):
    server = start({"pool.workers": 1})
    child = catch_child(server)
    caught = time.monotonic()
    mark = server.log.mark()
    server.configure({"pool.workers": 2})
    for _ in range(3):
        server.send_signal(signal.SIGHUP)
    server.figures()
    os.kill(child, signal.SIGKILL)
    server.log.wait("ready on .* workers=2 ", start=mark)
    server.limits["workers"] = 2
    with before(caught + CHILD_S):
        assert len(server.log.matching("SIGHUP: reading", mark)) == 1
        assert len(server.log.matching("signal 9", mark)) == 1


@again_when_late
def test_sigterm_does_not_wait_for_a_child_that_hangs(start, catch_child):
    server = start({"timeouts.drain": 600})
    child = catch_child(server)
    took = server.stop()
    wait_for(lambda: has_gone(child))
    check_time(took, seconds(1))


@again_when_late
def test_a_child_that_says_all_and_does_not_end_is_ended_after_two_seconds(start, tmp_path):
    server = start({"pool.workers": 1}, env=build(tmp_path) | {"LINGER": "1"})
    client = served(server)
    for _ in range(2):
        mark = server.log.mark()
        begin = time.monotonic()
        server.send_signal(signal.SIGHUP)
        wait_for(lambda: children(server))
        while not server.log.matching("ready on", mark):
            asked = time.monotonic()
            server.figures()
            client.echo()
            check_time(time.monotonic() - asked, 0.5)
            check_time(time.monotonic() - begin, 4)
        assert 1.9 < time.monotonic() - begin
        assert server.log.matching("^error: reload: .*2000 ms", mark)
        assert server.log.matching(STAY, mark) and not children(server)
    server.assert_idle(interval=0.3)
    server.send_signal(signal.SIGHUP)
    wait_for(lambda: children(server))
    client.close()
    check_time(server.stop(), 1)


@again_when_late
def test_a_child_that_ended_in_time_counts_however_late_the_server_looks(start, catch_child):
    server = start({"pool.workers": 1})
    server.configure({"pool.workers": 2})
    child = catch_child(server)
    begin = time.monotonic()
    mark = server.log.mark()
    server.suspend()
    check_time(time.monotonic() - begin, CHILD_S)
    os.kill(child, signal.SIGCONT)
    wait_for(lambda: process_state(child) == "Z")
    time.sleep(max(0, begin + 2.1 - time.monotonic()))  # the child's time is over
    server.send_signal(signal.SIGCONT)
    server.log.wait("ready on .* workers=2 ", start=mark)
    server.limits["workers"] = 2
    assert reloads(server)[1] == 0


def test_the_cpus_are_counted_once_for_a_start_and_for_a_reload(start, tmp_path):
    """Otherwise the pool could get another size than the one that all was prepared for."""
    server = start({"pool.workers": 0}, env=build(tmp_path) | {"MORE_CPUS": "1"})
    for workers in (1, 2, 3):
        assert server.limits["workers"] == workers
        server.reload()


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL, signal.SIGXCPU])
@again_when_late
def test_a_child_that_crashes_is_told_and_nothing_changes(start, catch_child, number):
    no_core = exec_wrapper("import resource as r; r.setrlimit(r.RLIMIT_CORE, (0, 0))")
    # A sanitizer would take the signal for a fault of the child, and report it for seconds.
    env = {name: f"{os.environ.get(name, '')}:handle_segv=0"
           for name in ("ASAN_OPTIONS", "TSAN_OPTIONS", "UBSAN_OPTIONS")}
    server = start({"pool.workers": 1}, wrapper=no_core, env=env)
    client = served(server)
    child = catch_child(server)
    caught = time.monotonic()
    mark = server.log.mark()
    server.configure({"pool.workers": 2})
    with before(caught + CHILD_S):
        os.kill(child, number)
        if number != signal.SIGKILL:  # of which it may be gone already
            os.kill(child, signal.SIGCONT)
    check_time(time.monotonic() - caught, CHILD_S)
    server.log.wait(f"^error: reload: .*signal {number}\\b", start=mark)
    server.log.wait(STAY, start=mark)
    client.echo()
    assert server.threads() <= 4
    assert reloads(server)[1] == 1


@pytest.mark.parametrize("name", ["SIGHUP", "SIGUSR1", "SIGPIPE", "SIGTTOU", "SIGXFSZ", "SIGCHLD",
                                  "SIGURG", "SIGWINCH", "SIGCONT"])
@again_when_late
def test_a_signal_to_the_whole_group_does_not_end_the_child(start, catch_child, name):
    server = start({"pool.workers": 1})
    child = catch_child(server)
    caught = time.monotonic()
    mark = server.log.mark()
    for pid in (child, server.pid):
        os.kill(pid, getattr(signal, name))
    with contextlib.suppress(ProcessLookupError):  # after SIGCONT it may be gone already
        os.kill(child, signal.SIGCONT)
    with before(caught + CHILD_S):
        server.log.wait("ready on", start=mark)
        assert not server.log.matching("by signal", mark)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_of_the_whole_group_is_one(start, catch_child, number):
    server = start({"timeouts.drain": 600})
    client = served(server)
    child = catch_child(server)
    for pid in (child, server.pid):
        os.kill(pid, number)
    server.log.wait("draining")
    wait_for(lambda: not os.path.exists(f"/proc/{child}"))  # it is reaped while the drain goes on
    client.echo()
    client.close()
    assert server.wait_exit() == 0


def test_children_of_others_are_reaped(start):
    """As process 1 of a container has them; here they are those of what it was before its exec."""
    server = start({"pool.workers": 1}, wrapper=exec_wrapper(
        "import signal\n"
        "for _ in range(3):\n"
        "    if os.fork() == 0:\n"
        "        signal.pause()"))
    adopted = all_children(server)
    assert len(adopted) == 3
    for pid in adopted:
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not all_children(server))
    server.reload({"pool.workers": 2})
    assert server.limits["workers"] == 2


@needs_root
def test_process_1_of_a_container_reaps_orphans_and_stops(start):
    """A PID namespace in which it is the first; an orphan of another process there becomes its."""
    server = start({"pool.workers": 1}, wrapper=unshared(
        "--mount", "true") + ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"])
    [first] = all_children(server)
    subprocess.run(["nsenter", "-t", str(first), "--pid", "sh", "-c", "(sleep 0.01 &)"],
                   check=True, timeout=seconds(20))

    def rest():
        with open(f"/proc/{first}/task/{first}/children", encoding="ascii") as file:
            return file.read().split()

    wait_for(lambda: not rest())
    mark = server.log.mark()
    os.kill(first, signal.SIGHUP)
    server.log.wait("ready on", start=mark)
    os.kill(first, signal.SIGTERM)
    assert server.process.wait(seconds(10)) == 0


def test_no_descriptor_to_spare_refuses_the_reload(start):
    server = start({"pool.workers": 1})
    client = served(server)
    limits = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (len(server.descriptors()), limits[1]))
    lines = server.reload({"pool.workers": 2})
    assert any("oo many open files" in line and STAY in line for line in lines), lines
    client.echo()
    assert reloads(server) == (0, 1)
    resource.prlimit(server.pid, resource.RLIMIT_NOFILE, limits)
    server.reload()
    assert server.limits["workers"] == 2


@needs_root
@needs_plain_build
def test_without_proc_the_reload_is_refused_with_the_reason(start):
    server = start({"pool.workers": 1},
                   wrapper=unshared("--mount", "mount -t tmpfs tmpfs /proc"))
    client = served(server)
    server.log.wait("^warning: .*echopool.conf cannot be read again by a reload: /proc is not")
    lines = server.reload({"pool.workers": 2})
    assert any("cannot start the child" in line and "/proc is not mounted" in line and STAY in line
               for line in lines), lines
    client.echo()
    assert server.limits["workers"] == 1 and reloads(server) == (0, 1)


@needs_root
@needs_plain_build
def test_a_reload_needs_no_dev(start):
    """As in a root directory of its own, where somebody forgot it."""
    server = start({"pool.workers": 1}, wrapper=unshared("--mount", "mount -t tmpfs tmpfs /dev"))
    server.reload({"pool.workers": 2})
    assert server.limits["workers"] == 2 and reloads(server) == (1, 0)


@pytest.mark.parametrize("path", ["/dev/stdin", "/dev/fd/0", "/proc/self/fd/0",
                                  "/proc/thread-self/fd/0"])
def test_a_file_that_was_a_descriptor_is_not_read_again_and_said_so(start, path):
    """The child's standard input is another."""
    server = start({"pool.workers": 1}, wrapper=exec_wrapper(
        f"os.dup2(os.open(sys.argv[3], os.O_RDONLY), 0); sys.argv[3] = '{path}'"))
    client = served(server)
    server.log.wait(f"^warning: {path} cannot be read again by a reload: it is a descriptor")
    lines = server.reload({"pool.workers": 2})
    assert any("descriptor" in line and STAY in line for line in lines), lines
    client.echo()
    assert server.limits["workers"] == 1 and reloads(server) == (0, 1)


def test_a_relative_path_is_read_again(start):
    server = start({"pool.workers": 1}, wrapper=exec_wrapper(
        "os.chdir(os.path.dirname(sys.argv[3])); sys.argv[3] = os.path.basename(sys.argv[3])"))
    assert not server.log.matching("^warning")
    server.reload({"pool.workers": 2})
    assert server.limits["workers"] == 2


def test_a_program_replaced_on_disk_still_reloads(start, tmp_path):
    """The child is the running program, whatever stands in its place now."""
    copy = tmp_path / "echopool"
    shutil.copy(PROGRAM, copy)
    server = start({"pool.workers": 1}, wrapper=exec_wrapper(f"sys.argv[1] = {str(copy)!r}"))
    copy.unlink()
    copy.write_text("#!/bin/sh\nexit 1\n")
    copy.chmod(0o755)
    server.reload({"pool.workers": 2})
    assert server.limits["workers"] == 2


BROKEN = {
    "syntax": ("pool: {\n  workers = ;\n};\n", 2),
    "unknown-key": ("pool: {\n\n  wrokers = 3;\n};\n", 3),
    "out-of-range": ("pool: { workers = 3; };\nlisten: { port = 70000; };\n", 2),
    "wrong-type": ('pool: { queue_limit = "7"; };\n', 1),
    "doubled": ("pool: { workers = 3; };\ntimeouts: { };\npool: { };\n", 3),
    "not-closed": ("timeouts: { drain = 5; };\n/* pool: {\n", 2),
}


def test_six_kinds_of_broken_file_under_load(start):
    server = start({"pool.workers": 2})
    load = Load(server.address)
    try:
        before = (server.limits, server.addresses, server.threads())
        for text, line in BROKEN.values():
            server.file.write_text(text)
            lines = server.reload()
            assert any(f"error: reload: {server.file}:{line}: " in one for one in lines), lines
            assert not changes(lines)
            assert (server.limits, server.addresses, server.threads()) == before
            load.wait_round()
        load.finish()
    finally:
        load.close()
    assert reloads(server) == (0, len(BROKEN))


def varied(i):
    """Settings for the reload number i: a different mixture each time."""
    return {"pool.workers": 1 + i % 4, "pool.worker_connections": 100 + i % 7,
            "pool.queue_limit": 50 + i % 5, "limits.buffer_bytes": 4096 << (i % 4),
            "timeouts.idle": 100 + i % 3, "timeouts.drain": i % 2, "tcp.nodelay": i % 2 == 0,
            "access.deny": [f"10.{i % 200}.{j}.0/24" for j in range(50)],
            "log.connections": i % 10 == 9,
            "listen.addresses": ["127.0.0.1", "127.0.0.2", "::1"][:1 + i % 3],
            "listen.backlog": 100 + i % 3}


def test_many_reloads_in_a_row_under_load(start):
    """Every byte comes back, nobody is disconnected, and nothing grows."""
    count = 1000 if FULL else 200
    server = start(varied(0))
    load = Load(server.address)
    try:
        memory = {}
        for i in range(1, count + 1):
            server.reload(varied(i))
            assert server.limits["workers"] == 1 + i % 4
            load.check()
            if i in (count // 2, count):
                memory[i] = server.memory()
        load.wait_round()
        load.finish()
    finally:
        load.close()
    most = (256 << 10) + shared_bytes(4, 65536)
    assert not PLAIN or memory[count] - memory[count // 2] < most, memory
    assert reloads(server) == (count, 0)
    server.reload(varied(0))
