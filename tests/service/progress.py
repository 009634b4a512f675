"""What script/test shows while the tests run: how many are done, and each failure as it comes.

On a terminal it is one line that changes; in a log a line now and then, so that a long run shows
that it lives. Options of conftest.py switch it on.
"""

import shutil
import threading
import time

import pytest

ON_TERMINAL_S = 0.5
IN_LOG_S = 10
LONG_S = 5  # a test that has taken this long is named


class Progress:
    """A pytest plugin for the process that prints; with xdist that is not the one that tests."""

    def __init__(self, terminal, title):
        self._terminal = terminal
        self._title = title
        self._total = self._done = self._failed = 0
        self._begin = time.monotonic()
        self._running = {}
        self._printing = threading.Lock()
        self._over = threading.Event()
        self._clock = threading.Thread(target=self._tick, daemon=True)
        self._clock.start()

    def pytest_collection_finish(self, session):
        self._total = len(session.items)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids):
        self._total = len(ids)

    def pytest_runtest_logstart(self, nodeid):
        self._running[nodeid] = time.monotonic()

    def pytest_runtest_logfinish(self, nodeid):
        self._running.pop(nodeid, None)
        self._done += 1

    def pytest_runtest_logreport(self, report):
        if report.failed:
            self._failed += 1
            with self._printing:
                self._clear()
                self._terminal.write_line(f"FAILED {report.nodeid} ({report.when})")

    @pytest.hookimpl(hookwrapper=True)
    def pytest_report_teststatus(self):
        """Takes away the letter that pytest prints for each test."""
        outcome = yield
        category, _, word = outcome.get_result()
        outcome.force_result((category, "", word))

    def pytest_sessionfinish(self):
        self._over.set()
        self._clock.join()
        if self._total:
            with self._printing:
                self._clear()
                self._terminal.write_line(self._line())

    def _line(self):
        now = time.monotonic()
        line = (f"{self._title}: {self._done} of {self._total} done, {self._failed} failed, "
                f"{now - self._begin:.0f} s")
        # A test may begin while this is looked at.
        long = [name for name, begin in list(self._running.items()) if now - begin > LONG_S]
        return line + (f"; now {long[0].split('/')[-1]}" if long else "")

    def _clear(self):
        if self._terminal.isatty:
            self._terminal.rewrite("", erase=True)

    def _tick(self):
        while not self._over.wait(ON_TERMINAL_S if self._terminal.isatty else IN_LOG_S):
            if not self._total:
                continue
            with self._printing:
                if self._terminal.isatty:
                    width = shutil.get_terminal_size().columns - 1
                    self._terminal.rewrite(self._line()[:width], erase=True)
                else:
                    self._terminal.write_line(self._line())
