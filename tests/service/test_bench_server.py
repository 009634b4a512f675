"""What bench/tune.py and bench/compare.py are made of: servers, the generator, machine, plots."""

import contextlib
import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from common import machine, plot, server
from harness import CHECKOUT, PROGRAM, seconds, wait_for
from live import needs_program

BENCH = CHECKOUT / "bench"


# Servers, and the generator.

def test_a_server_has_a_process_group_in_the_session_of_the_script():
    with server.echopool(PROGRAM) as running:
        assert os.getpgid(running.pid) == running.pid
        assert os.getsid(running.pid) == os.getsid(0)


def run_alone(code, *arguments):
    """Runs Python code with the modules of bench/; returns what it prints."""
    done = subprocess.run(["/usr/bin/python3", "-c", code, *arguments], cwd=BENCH, text=True,
                          capture_output=True, timeout=seconds(30), check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_generator_has_a_process_group_in_the_session_of_the_script(tmp_path):
    path = tmp_path / "echoload"
    path.write_text("#!/usr/bin/python3\nimport json, os\nprint(json.dumps("
                    "[os.getpid() == os.getpgrp(), os.getsid(0)]))\n", encoding="ascii")
    path.chmod(0o755)
    found = run_alone("import json, sys\nfrom common import load\n"
                      "print(json.dumps(load.run(sys.argv[1], '127.0.0.1:7')))", str(path))
    assert json.loads(found) == [True, os.getsid(0)]


@pytest.mark.parametrize("code", [
    "from common import load; load.run(sys.argv[1], '127.0.0.1:7')",
    "from common import server; server.Server(sys.argv[1:], 7, ready='^never$').__enter__()",
], ids=["the generator", "a server"])
def test_a_process_ends_with_the_script_whatever_ends_that(tmp_path, code):
    needs_program("setpriv")
    path, told = tmp_path / "program", tmp_path / "told"
    path.write_text(f"#!/bin/sh\necho $$ >{told}.new\nmv {told}.new {told}\nexec sleep 60\n",
                    encoding="ascii")
    path.chmod(0o755)
    script = subprocess.Popen(["/usr/bin/python3", "-c", f"import sys; {code}", path], cwd=BENCH,
                              env={**os.environ, "TMPDIR": str(tmp_path)})
    try:
        wait_for(told.exists, what="the process")
    finally:
        script.kill()
        script.wait()
    pid = int(told.read_text(encoding="ascii"))
    try:
        wait_for(lambda: has_ended(pid), what="its end")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def has_ended(pid):
    """True for a zombie, too, which nobody may have waited for."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
    except OSError:
        return True
    return stat.rpartition(")")[2].split()[0] == "Z"


@pytest.mark.parametrize("stand_in", [None, "exit 1"], ids=["not there", "cannot do it"])
def test_without_setpriv_processes_start_all_the_same(tmp_path, monkeypatch, stand_in):
    if stand_in:
        (tmp_path / "setpriv").write_text(f"#!/bin/sh\n{stand_in}\n", encoding="ascii")
        (tmp_path / "setpriv").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    said = run_alone("from common import child\n"
                     "child.start(['/bin/echo', 'started']).wait()")
    assert said == "started\n"


def test_a_program_that_is_not_there_is_told_by_its_name():
    with pytest.raises(server.ServerFailed, match="^none: No such file or directory: /nowhere/no"):
        server.Server(["/nowhere/none"], 1).__enter__()


def test_a_second_ctrl_c_leaves_no_directory(tmp_path):
    said = run_alone("""
import os, signal, sys, tempfile
from common import interrupt
from comparing import trial

def measured(*_):
    os.kill(os.getpid(), signal.SIGINT)

def rmdir(*arguments, remove=os.rmdir, **options):
    os.kill(os.getpid(), signal.SIGINT)
    remove(*arguments, **options)

tempfile.tempdir = sys.argv[1]
trial._measured, os.rmdir = measured, rmdir
interrupt.install()
try:
    trial.run(None, None, None)
except KeyboardInterrupt:
    print(os.listdir(sys.argv[1]))
""", str(tmp_path))
    assert said == "[]\n"


def test_a_reload_resizes_the_pool_and_one_that_is_refused_is_told():
    with server.echopool(PROGRAM, None, ["pool.workers=1"], live=True) as running:
        running.reload({"pool.workers": "3"})
        assert len(running.figures()["workers"]) == 3
        with pytest.raises(server.ServerFailed) as told:
            running.reload({"pool.workers": "70000"})
        assert str(told.value).startswith(
            "echopool did not apply {'pool.workers': '70000'}: error: reload: ")
        assert len(running.figures()["workers"]) == 3


@pytest.mark.parametrize("before, after", [("SIG_DFL", False), ("SIG_IGN", True)])
def test_the_end_of_the_terminal_stays_ignored_where_nohup_asks_for_it(before, after):
    said = run_alone("import signal\nfrom common import interrupt\n"
                     f"signal.signal(signal.SIGHUP, signal.{before})\n"
                     "interrupt.install()\n"
                     "print(signal.getsignal(signal.SIGHUP) == signal.SIG_IGN)")
    assert said == f"{after}\n"


# The machine.

@pytest.mark.parametrize("ticks, used", [
    (("10 0 20 70 30 4 3 3 1 1", "25 5 30 100 50 4 3 3 9 9"), 30 / 80),
    (("10 0 20 70 30 4 3 3", "10 0 20 70 130 4 3 3"), 0), ((None, None), None),
    (("10 0 20 70 30 4 3 3", "10 0 20 70 30 4 3 3"), None)],
    ids=["some", "none", "no file", "no tick"])
def test_what_others_use_of_the_cpus_is_told_by_ticks(monkeypatch, ticks, used):
    found = iter(ticks)
    monkeypatch.setattr(machine, "LOOK_S", 0)
    monkeypatch.setattr(machine, "_field", lambda *_: next(found))
    told = machine.used_by_others()
    assert told == (None if used is None else pytest.approx(os.cpu_count() * used))


def test_what_others_use_is_a_share_of_the_cpus(monkeypatch):
    monkeypatch.setattr(machine, "LOOK_S", 0.05)
    used = machine.used_by_others()
    assert used is None or 0 <= used <= os.cpu_count()


def test_a_free_port_is_none_that_the_kernel_gives_to_clients():
    low, high = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    found = {server.free_port() for _ in range(20)}
    assert len(found) > 1 and not any(low <= port <= high for port in found)


@pytest.mark.parametrize("in_use, said", [(None, False), (0.0, False), (0.39, False), (0.41, True)])
def test_a_tenth_of_the_cpus_in_use_is_told(in_use, said):
    assert (machine.busy({"cpus": 4, "cpus_in_use": in_use}) is not None) == said


# Plots.

def lines(count):
    return plot.Lines("title", "x", "y", [plot.Series(f"load {n}", [(1, n, n, n), (2, n, n, n)])
                                          for n in range(1, count + 1)])


def test_a_figure_of_many_loads_tells_them_apart(tmp_path):
    needs_program("gnuplot")
    plot.figure(tmp_path / "many", "title", [lines(9)])
    script = (tmp_path / "many.gp").read_text(encoding="utf-8")
    styles = [plot._style(index) for index in range(9)]
    assert len(set(styles)) == 9 and all(f"yerrorlines {style}" in script for style in styles)


def test_a_figure_that_cannot_be_drawn_leaves_no_older_one(tmp_path, monkeypatch):
    for name in ("one.svg", "one.png"):
        (tmp_path / name).write_text("old", encoding="ascii")
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(plot.PlotFailed):
        plot.figure(tmp_path / "one", "title", [lines(1)])
    assert [path.name for path in tmp_path.iterdir()] == ["one.gp"]


def test_no_place_for_a_figure_is_no_more_than_that(tmp_path):
    with pytest.raises(plot.PlotFailed, match="No such file or directory"):
        plot.figure(tmp_path / "missing" / "one", "title", [lines(1)])
