"""Turns SIGINT, SIGQUIT, SIGTERM and SIGHUP into KeyboardInterrupt, but not between starting a
process and knowing it.

A command calls install() once, in the main thread. Code that must not be torn runs in held(), which
does nothing without install().
"""

import signal
from contextlib import contextmanager

_depth = 0
_pending = False


def _handle(number, _frame):
    global _pending
    if number == signal.SIGHUP:
        # The kernel and the shell both send it; the second must not end the report.
        signal.signal(number, signal.SIG_IGN)
    if _depth:
        _pending = True
    else:
        raise KeyboardInterrupt


def install():
    """From now on the four signals raise KeyboardInterrupt outside of held().

    An ignored SIGHUP stays ignored: nohup asks for that.
    """
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
        signal.signal(number, _handle)
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        signal.signal(signal.SIGHUP, _handle)


@contextmanager
def held():
    """Delays an interruption to the end of this block."""
    global _depth, _pending
    _depth += 1
    try:
        yield
    finally:
        _depth -= 1
        if _pending and not _depth:
            _pending = False
            raise KeyboardInterrupt
