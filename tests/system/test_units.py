"""The installed units under the systemd that this runs under; started in a container by run.py."""

import contextlib
import json
import pathlib
import re
import signal
import socket
import subprocess
import time

import pytest

SERVICE, SOCKET = "echopool.service", "echopool.socket"
FILE = pathlib.Path("/etc/echopool/echopool.conf")
PORT = 7007
LONG = 30  # seconds that an event may take on a busy machine


def systemctl(*words, check=True):
    return subprocess.run(["systemctl", "--no-pager", *words], check=check, timeout=120,
                          capture_output=True, text=True)


def show(name):
    return systemctl("show", "--value", f"--property={name}", SERVICE).stdout.strip()


def wait_for(condition):
    deadline = time.monotonic() + LONG
    while not (value := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return value


def status_of(pid):
    """The fields of /proc/PID/status."""
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)


def journal(since):
    """The service's lines since that cursor, each with its priority."""
    said = subprocess.run(["journalctl", "--unit", SERVICE, "--output=json", "--after-cursor",
                           since], check=True, capture_output=True, text=True).stdout
    return [(int(entry["PRIORITY"]), entry["MESSAGE"])
            for entry in map(json.loads, said.splitlines())]


def cursor():
    said = subprocess.run(["journalctl", "--lines=1", "--output=json"], check=True,
                          capture_output=True, text=True).stdout
    return json.loads(said)["__CURSOR"]


class Client:
    def __init__(self, port=PORT):
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=LONG)

    def echo(self):
        self.sock.sendall(b"echo")
        assert self.sock.recv(4, socket.MSG_WAITALL) == b"echo"

    def __enter__(self):
        self.echo()
        return self

    def __exit__(self, *_):
        self.sock.close()


def serves(port=PORT):
    with contextlib.suppress(OSError), Client(port):
        return True
    return False


def drop_in(text, unit=SERVICE):
    """What "systemctl edit --runtime" would write."""
    directory = pathlib.Path(f"/run/systemd/system/{unit}.d")
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "test.conf").write_text(text)
    systemctl("daemon-reload")


def configure(text):
    FILE.write_text(text)


@pytest.fixture(autouse=True)
def service():
    """The service, started as it was installed. Afterwards nothing of the test is left."""
    installed = FILE.read_text()
    systemctl("start", SERVICE)
    yield
    FILE.write_text(installed)
    systemctl("stop", SOCKET, SERVICE)
    for unit in (SERVICE, SOCKET):
        pathlib.Path(f"/run/systemd/system/{unit}.d/test.conf").unlink(missing_ok=True)
    systemctl("daemon-reload")
    systemctl("reset-failed")


def restart_with(text):
    drop_in(text)
    systemctl("restart", SERVICE)


def test_it_listens_when_the_start_is_over():
    systemctl("restart", SERVICE)
    assert serves()
    assert re.match(r"ready on 127.0.0.1:7007, .*workers=\d", show("StatusText"))


def test_nothing_of_the_unit_is_unknown_to_this_systemd():
    said = subprocess.run(["systemd-analyze", "verify", "--man=no", SERVICE, SOCKET],
                          capture_output=True, text=True)
    assert (said.returncode, said.stdout, said.stderr) == (0, "", "")


def test_exposure_is_at_most_1_3():
    subprocess.run(["systemd-analyze", "security", "--offline=true", "--threshold=13",
                    "--no-pager", f"/usr/lib/systemd/system/{SERVICE}"], check=True)


def test_it_runs_as_a_user_of_its_own_without_rights():
    status = status_of(show("MainPID"))
    assert 61184 <= int(status["Uid"].split()[0]) <= 65519  # systemd's range for DynamicUser=
    assert [int(status[name], 16) for name in ("CapEff", "CapPrm", "CapBnd", "CapAmb")] == [0] * 4
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")


def test_the_journal_knows_the_levels():
    since = cursor()
    systemctl("restart", SERVICE)
    configure('log: { level = "debug"; };\npool: { workers = "many"; };\n')
    systemctl("reload", SERVICE, check=False)
    systemctl("kill", "--signal=HUP", SERVICE)

    def said(priority, text):
        return any(level == priority and re.search(text, line) for level, line in journal(since))

    wait_for(lambda: said(3, "^(error: )?reload: .*pool.workers: found"))
    assert said(6, "^(info: )?ready on 127.0.0.1:7007")


def test_a_reload_resizes_the_pool_and_loses_nobody():
    waits = show("Type") == "notify-reload"
    pid = show("MainPID")
    with Client() as client:
        for workers in (3, 1, 4, 2) * 5:
            configure(f"pool: {{ workers = {workers}; }};\n")
            systemctl("reload", SERVICE)
            told = f"workers={workers} "
            assert told in show("StatusText") if waits else \
                wait_for(lambda: told in show("StatusText"))
            client.echo()
    assert show("MainPID") == pid


def test_a_reload_is_over_when_systemctl_returns_where_systemd_can():
    version = int(re.search(r"\d+", systemctl("--version").stdout)[0])
    assert show("Type") == ("notify-reload" if version >= 253 else "notify")


def test_a_wrong_reload_fails_and_its_status_says_why():
    pid, before = show("MainPID"), show("StatusText")
    configure("pool: { wrokers = 3; };\n")
    with Client() as client:
        assert systemctl("reload", SERVICE, check=False).returncode
        assert "pool.wrokers" in systemctl("status", SERVICE, check=False).stdout
        client.echo()
    assert serves()
    wait_for(lambda: show("ActiveState") == "active")
    assert (show("MainPID"), show("StatusText")) == (pid, before)
    configure("pool: { workers = 3; };\n")
    systemctl("reload", SERVICE)
    wait_for(lambda: "workers=3 " in show("StatusText"))


def test_it_is_started_again_after_a_kill():
    pid = show("MainPID")
    systemctl("kill", "--signal=KILL", SERVICE)
    wait_for(lambda: show("MainPID") not in (pid, "0"))
    wait_for(serves)


def test_restarts_are_not_limited():
    for _ in range(7):
        systemctl("restart", SERVICE)
        assert serves()


def test_kills_are_not_limited_and_with_the_socket_unit_nobody_is_refused():
    drop_in("[Service]\nRestartSec=100ms\n")
    systemctl("stop", SERVICE)
    systemctl("start", SOCKET)
    for _ in range(7):
        assert serves()
        systemctl("kill", "--signal=KILL", SERVICE)
    assert serves()
    assert systemctl("is-active", SOCKET).stdout.strip() == "active"


def test_a_wrong_file_is_not_tried_again():
    configure("pool: { wrokers = 3; };\n")
    assert systemctl("restart", SERVICE, check=False).returncode
    assert show("ActiveState") == "failed"
    assert "pool.wrokers" in systemctl("status", SERVICE, check=False).stdout


def test_systemd_opens_port_7_and_the_service_needs_no_right():
    systemctl("stop", SERVICE)
    drop_in("[Socket]\nListenStream=\nListenStream=127.0.0.1:7\n", SOCKET)
    systemctl("start", SOCKET)
    with Client(7) as client:
        assert int(status_of(show("MainPID"))["CapEff"], 16) == 0
        configure("pool: { workers = 3; };\n")
        systemctl("reload", SERVICE)
        wait_for(lambda: "workers=3 " in show("StatusText"))
        client.echo()
    systemctl("stop", SERVICE)
    assert serves(7)
    assert not serves(PORT)


def test_nothing_but_the_program_can_be_started():
    drop_in("[Service]\nExecStartPre=/bin/sh -c true\n")
    assert systemctl("restart", SERVICE, check=False).returncode
    assert "203/EXEC" in systemctl("status", SERVICE, check=False).stdout


def test_a_drain_may_take_longer_than_systemd_waits_by_itself():
    configure("timeouts: { drain = 60.0; };\n")
    restart_with("[Service]\nTimeoutStopSec=1\n")
    with Client() as client:
        systemctl("stop", "--no-block", SERVICE)
        wait_for(lambda: show("ActiveState") == "deactivating")
        over = time.monotonic() + 4  # systemd would have killed it after one
        while time.monotonic() < over:
            client.echo()
            time.sleep(0.1)
    wait_for(lambda: show("ActiveState") == "inactive")
    assert show("Result") == "success"


def test_the_watchdog_is_told_also_while_it_reloads():
    restart_with("[Service]\nWatchdogSec=3\n")
    pid = show("MainPID")
    over = time.monotonic() + 8
    with Client() as client:
        while time.monotonic() < over:
            systemctl("reload", SERVICE)
            client.echo()
    assert show("MainPID") == pid


def test_the_watchdog_restarts_who_does_not_answer():
    restart_with("[Service]\nWatchdogSec=1\nRestartSec=100ms\n")
    pid, since = show("MainPID"), cursor()
    systemctl("kill", "--signal=STOP", SERVICE)
    wait_for(lambda: show("MainPID") not in (pid, "0"))
    wait_for(serves)
    assert any("watchdog" in line.lower() for _, line in journal(since))


LIVES_ON = ["CHLD", "CONT", "HUP", "PIPE", "TSTP", "TTIN", "TTOU", "URG", "USR1", "WINCH", "XFSZ"]
STOPS = ["INT", "TERM"]
CATCHABLE = [name for name in (one.name[3:] for one in signal.Signals)
             if name not in ("STOP", "RTMIN", "RTMAX")]


@pytest.mark.parametrize("name", CATCHABLE)
def test_after_any_signal_it_serves_or_was_stopped(name):
    restart_with("[Service]\nRestartSec=100ms\n")
    pid = show("MainPID")
    systemctl("kill", f"--signal={name}", SERVICE)
    if name in STOPS:
        wait_for(lambda: show("ActiveState") == "inactive")
        assert show("Result") == "success"
    elif name in LIVES_ON:
        systemctl("kill", "--signal=CONT", SERVICE)
        assert serves()
        assert show("MainPID") == pid
    else:
        wait_for(lambda: show("MainPID") not in (pid, "0"))
        wait_for(serves)
