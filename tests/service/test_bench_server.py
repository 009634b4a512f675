"""What bench/tune.py and bench/compare.py are made of: servers, the generator, machine, plots."""

import json
import os
import subprocess
import sys

import pytest

from harness import CHECKOUT, PROGRAM, seconds
from live import needs_program

BENCH = CHECKOUT / "bench"
# At the end: bench/ and this directory both have a load.py, and here this directory's is meant.
sys.path.append(str(BENCH))

import machine  # noqa: E402
import plot  # noqa: E402
import server  # noqa: E402


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
    found = run_alone("import json, sys, load\n"
                      "print(json.dumps(load.run(sys.argv[1], '127.0.0.1:7')))", str(path))
    assert json.loads(found) == [True, os.getsid(0)]


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
    said = run_alone("import signal, interrupt\n"
                     f"signal.signal(signal.SIGHUP, signal.{before})\n"
                     "interrupt.install()\n"
                     "print(signal.getsignal(signal.SIGHUP) == signal.SIG_IGN)")
    assert said == f"{after}\n"


# The machine.

def test_what_others_use_of_the_cpus_is_seen(monkeypatch):
    monkeypatch.setattr(machine, "LOOK_S", 0.2)
    other = subprocess.Popen(["/usr/bin/python3", "-c", "while True: pass"])
    try:
        used = machine.used_by_others()
    finally:
        other.kill()
        other.wait()
    if used is None:
        pytest.skip("no CPU times in /proc/stat")
    assert 0.3 < used <= os.cpu_count()


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
