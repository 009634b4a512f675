"""A load in the background: clients that come, echo random messages, check every byte, and go."""

import os
import random
import threading
import time

from clients import Crowd


class Load:
    """Runs from its making to finish(), which tells what went wrong.

    steady clients stay connected all the time; with each round, passing ones come and go.
    """

    def __init__(self, address, steady=20, passing=4):
        self.rounds = 0
        self._address = address
        self._passing = passing
        self._steady = Crowd(address, steady)
        self._stop = threading.Event()
        self._failure = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @staticmethod
    def _echo(crowd):
        crowd.exchange({fd: os.urandom(random.choice((1, 100, 5000, 60000)))
                        for fd in crowd.sockets})

    def _run(self):
        try:
            while not self._stop.is_set():
                self._echo(self._steady)
                passing = Crowd(self._address, self._passing)
                self._echo(passing)
                passing.close()
                self.rounds += 1
        except (AssertionError, OSError) as failure:
            self._failure = failure

    def check(self):
        """Fails if a client was hurt so far."""
        assert self._failure is None, f"in round {self.rounds}: {self._failure!r}"

    def wait_round(self, timeout=20):
        """Waits until every client has been served once more."""
        wanted = self.rounds + 2
        deadline = time.monotonic() + timeout
        while self.rounds < wanted and self._failure is None:
            assert time.monotonic() < deadline, f"no round in {timeout} s"
            time.sleep(0.002)
        self.check()

    def finish(self):
        """Ends the load; fails if a client was hurt."""
        self._stop.set()
        self._thread.join(60)
        assert not self._thread.is_alive(), "a client was not served"
        self._steady.close()
        self.check()

    def close(self):
        """As finish() without a word, for a test that has failed."""
        self._stop.set()
        self._thread.join(60)
        self._steady.close()
