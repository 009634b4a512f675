"""Ctrl-C and SIGTERM as KeyboardInterrupt, but never between starting a process and knowing it.

tune.py and compare.py call install() once, in the main thread; server.py and load.py put what must
not be torn in held(). Without install() held() does nothing.
"""

import signal
from contextlib import contextmanager

_depth = 0
_pending = False


def _handle(_number, _frame):
    global _pending
    if _depth:
        _pending = True
    else:
        raise KeyboardInterrupt


def install():
    """From now on SIGINT and SIGTERM raise KeyboardInterrupt where nothing is held."""
    signal.signal(signal.SIGINT, _handle)
    signal.signal(signal.SIGTERM, _handle)


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
