"""Starts a process that ends with this one, whatever ends this one.

Called by server.py and load.py, in the main thread: what the kernel watches is the thread that
starts the process.
"""

import functools
import shutil
import subprocess

# It puts the program in its own place, so that the process id stays.
ENDS_WITH_PARENT = ("setpriv", "--pdeathsig", "TERM", "--")


@functools.cache
def _prefix():
    """What stands before the command; nothing where setpriv is not there or cannot do it."""
    try:
        done = subprocess.run([*ENDS_WITH_PARENT, "true"], stdin=subprocess.DEVNULL,
                              capture_output=True, check=False)
    except OSError:
        return ()
    return ENDS_WITH_PARENT if done.returncode == 0 else ()


def start(command, **options):
    """Popen in a process group of its own, without input. OSError: there is no such program."""
    # Without the prefix the message is about the program, not about setpriv.
    prefix = _prefix() if shutil.which(command[0]) else ()
    return subprocess.Popen([*prefix, *command], stdin=subprocess.DEVNULL, process_group=0,
                            **options)
