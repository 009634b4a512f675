"""Fixtures of the service suite, and the list of what could not be run, with the reasons."""

import os
import shutil
import signal
import tempfile
from pathlib import Path

import pytest

from clients import need_descriptors
from harness import PROGRAM, Server
from progress import Progress

# The suite in two parts, each with a line of progress: see script/test.
PARTS = {"together": "service tests", "alone": "service tests that need the machine alone"}


def pytest_addoption(parser):
    parser.addoption("--part", choices=list(PARTS), help="only the tests that may run side by "
                     "side, or only those with the mark alone")


@pytest.hookimpl(trylast=True)  # after the terminal
def pytest_configure(config):
    config.addinivalue_line("markers", "alone: takes what other tests need, or measures it")
    part = config.getoption("part")
    # A worker of xdist prints nothing.
    if part and not hasattr(config, "workerinput"):
        terminal = config.pluginmanager.get_plugin("terminalreporter")
        config.pluginmanager.register(Progress(terminal, PARTS[part]))


def pytest_collection_modifyitems(config, items):
    part = config.getoption("part")
    if part:
        parts = {"together": [], "alone": []}
        for item in items:
            parts["alone" if item.get_closest_marker("alone") else "together"].append(item)
        items[:] = parts.pop(part)
        config.hook.pytest_deselected(items=sum(parts.values(), []))


def pytest_sessionstart():
    # In the background, or under nohup, some signals are ignored, by the programs under test too.
    # What is caught here they do not ignore.
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, lambda *_: None)
    if not Path(PROGRAM).exists():
        pytest.exit(f"{PROGRAM} is not there: build it, or name another in ECHOPOOL", returncode=2)
    need_descriptors(0)


def pytest_terminal_summary(terminalreporter):
    """A line for each test that was skipped: where, and why as "kind: details"."""
    skipped = terminalreporter.stats.get("skipped", [])
    for report in skipped:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        reason = reason.removeprefix("Skipped: ")
        terminalreporter.write_line(f"not run: {report.nodeid}: {reason}")


@pytest.fixture
def launch(tmp_path):
    """A function that starts a program and does not wait for it; see Server for its arguments.

    directory is where its file is put; other users cannot read what is in tmp_path.
    """
    servers = []

    def launch_one(settings=None, **options):
        directory = options.pop("directory", tmp_path) / f"server{len(servers)}"
        directory.mkdir()
        servers.append(Server(directory, settings, **options))
        return servers[-1]

    yield launch_one
    failures = []
    for server in servers:
        try:
            server.finish()
        except AssertionError as failure:
            failures.append(str(failure))
    assert not failures, "\n".join(failures)


@pytest.fixture
def start(launch):
    """A function that starts a program and waits for its ready line."""
    return lambda settings=None, **options: launch(settings, **options).wait_ready()


@pytest.fixture
def short_path():
    """A folder for sockets, whose paths are limited; that of tmp_path is long."""
    with tempfile.TemporaryDirectory(prefix="echopool-") as directory:
        yield Path(directory)


@pytest.fixture
def memory_file():
    """The path of a file whose writes are quick, however slow the disk is.

    To be opened by it, as others write: the position of memfd_create's own descriptor has no lock.
    """
    with open(os.memfd_create("echopool-test"), "rb") as file:
        yield Path(f"/proc/self/fd/{file.fileno()}")


@pytest.fixture
def public_program():
    """A copy of the program where every user can run it; tmp_path is the owner's alone."""
    with tempfile.TemporaryDirectory(prefix="echopool-test-") as directory:
        os.chmod(directory, 0o755)
        yield shutil.copy(PROGRAM, directory)
