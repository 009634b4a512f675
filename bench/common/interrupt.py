"""SIGINT, SIGQUIT, SIGTERM and SIGHUP as KeyboardInterrupt, but never between starting a process
and knowing it.

tune.py and compare.py call install() once, in the main thread; server.py, load.py and trial.py put
what must not be torn in held(). Without install() held() does nothing.
"""

import signal
from contextlib import contextmanager

_depth = 0
_pending = False


def _handle(number, _frame):
    global _pending
    if number == signal.SIGHUP:
        # The kernel and the shell both send it; the second must not end the telling of the first.
        signal.signal(number, signal.SIG_IGN)
    if _depth:
        _pending = True
    else:
        raise KeyboardInterrupt


def install():
    """From now on the four signals raise KeyboardInterrupt where nothing is held.

    SIGHUP, the end of the terminal, stays ignored where it is: nohup asks for that.
    """
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
        signal.signal(number, _handle)
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        signal.signal(signal.SIGHUP, _handle)


@contextmanager
def held():
    """An interruption in this block is raised at its end."""
    global _depth, _pending
    _depth += 1
    try:
        yield
    finally:
        _depth -= 1
        if _pending and not _depth:
            _pending = False
            raise KeyboardInterrupt
