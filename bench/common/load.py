"""Runs echoload, the load generator, and returns what it measured. Ctrl-C ends echoload, too."""

import json
import subprocess

from common import child, interrupt, table

# New connections soon use up the ports of one address: a port rests for a minute after its
# connection (TIME_WAIT of RFC 9293), and the search for a free one takes longer and longer.
SOURCES = "127.0.0.1-127.0.0.200"
STOP_S = 5
# Added to the time that the options ask for: looking up names, starting threads, closing.
MARGIN_S = 60


class LoadFailed(Exception):
    """echoload gave no result. The text is its standard error.

    usage: a run with the same options fails again.
    """

    def __init__(self, text, usage=False):
        super().__init__(text)
        self.usage = usage


def arguments(target, options):
    """The command line after the program's name; see run()."""
    words = ["--json", "-"]
    if (options.get("messages") or options.get("arrivals")) and target.startswith("127."):
        options = {"source": SOURCES, **options}
    for name, value in options.items():
        if value is None or value is False:
            continue
        words.append("--" + name.replace("_", "-"))
        if value is not True:
            words.append(str(value))
    return words + [target]


def _limit_s(options):
    """After so many seconds an echoload that still runs is stuck."""
    def number(name, default):
        return float(options.get(name) or default)

    opened = number("connections", 50) + number("idle", 0)
    return (number("duration", 10) + number("warmup", 1) + number("timeout", 5)
            + opened / number("connect_rate", 10000) + MARGIN_S)


def run(echoload, target, **options):
    """Runs echoload against target ("127.0.0.1:7007") and returns its JSON object.

    options are its long options, with "_" for "-": connections=50, size="64-1k", duration=1.5,
    poisson=True, server=pid. False and None leave an option out. A run with wrong bytes or failed
    connections is returned with "ok" false. LoadFailed: there is no result.
    """
    command = [str(echoload), *arguments(target, options)]
    limit_s = _limit_s(options)
    process = None
    try:
        with interrupt.held():
            process = child.start(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                  text=True)
        output, errors = process.communicate(timeout=limit_s)
    except OSError as error:
        raise LoadFailed(f"{echoload}: {error.strerror}", usage=True) from None
    except subprocess.TimeoutExpired:
        raise LoadFailed(f"{echoload} did not end in {limit_s:.0f} s") from None
    finally:
        _end(process)
    try:
        return json.loads(output)
    except ValueError:
        said = errors.strip() or f"{echoload} printed no result"
        raise LoadFailed(f"{said} (exit status {process.returncode})",
                         usage=process.returncode == 2) from None


def _end(process):
    """Ends echoload if it still runs."""
    with interrupt.held():
        if process is None or process.poll() is not None:
            return
        process.terminate()
        try:
            process.communicate(timeout=STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def row(result):
    """echoload's result as a row, without its options."""
    asked = ("echoload", "target", "options")
    return table.flat({key: value for key, value in result.items() if key not in asked})


def failure_text(figures):
    """What went wrong in a run that is not ok, in a few words."""
    counts = [f"{name.replace('_', ' ')} {figures[key]}" for name in
              ("wrong", "short", "refused", "reset", "timed_out", "other")
              if figures.get(key := f"errors_{name}")]
    return ", ".join(counts) or figures.get("message") or "nothing was answered"
