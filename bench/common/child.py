"""Starts a process that ends with this one, whatever ends this one.

Only the main thread may call it: the kernel watches the thread that starts the process.
"""

import functools
import shutil
import subprocess

# setpriv becomes the program, so that the process id stays.
ENDS_WITH_PARENT = ("setpriv", "--pdeathsig", "TERM", "--")


@functools.cache
def _prefix():
    """The words before the command; none where setpriv is missing or cannot do it."""
    try:
        done = subprocess.run([*ENDS_WITH_PARENT, "true"], stdin=subprocess.DEVNULL,
                              capture_output=True, check=False)
    except OSError:
        return ()
    return ENDS_WITH_PARENT if done.returncode == 0 else ()


def start(command, **options):
    """Popen in its own process group, without input. OSError: there is no such program."""
    # A missing program is to be named in the error, not setpriv.
    prefix = _prefix() if shutil.which(command[0]) else ()
    return subprocess.Popen([*prefix, *command], stdin=subprocess.DEVNULL, process_group=0,
                            **options)
