"""What both commands share at their start and end: exit statuses, and a sentence for each error."""

import os

from common import interrupt, server

USAGE = 2
INTERRUPTED = 130


def missing_program(paths):
    """The sentence about the first missing program; None when all are there."""
    for path in paths:
        if not (os.path.isfile(path) and os.access(path, os.X_OK)):
            return f"{path} is not there: run script/build --bench, or name the build with --build"
    return None


def run(body, fail):
    """Calls body and returns its exit status, or what fail(text, status) returns for an error."""
    interrupt.install()
    try:
        return body()
    except server.ServerFailed as failure:
        return fail(str(failure), USAGE)
    except OSError as error:
        return fail(str(error), 1)
    except KeyboardInterrupt:
        return fail("interrupted", INTERRUPTED)
