"""What is wrong with a run: the oracles.

verdict() names what came of a run in a word; problems() is empty when all of
it was right.
"""

import errno
import os
import re
import signal

from peers import EARLY, EXACT, REFUSED, WRONG
from program import SANITIZER_STATUS
from scenario import RELOADS, SETTINGS
from table import SIGTERM, Running, Start, number_of

SERVED, ENDED, NOT_STARTED, LEFT, ABORTED, FAILED = VERDICTS = (
    "served", "conn ended", "refused", "left", "aborted", "FAILED")

SANITIZER_REPORT = re.compile(r"\w+Sanitizer|runtime error:")
# More waits for events than this many times those of a run without a fault are a spin.
SPIN_FACTOR, SPIN_MOST = 20, 2000


def _problem_lines(log):
    """The lines of a log that tell of an error."""
    return [line for line in log.splitlines()
            if line and not re.match(r"(info|warning|debug): ", line) and
            ": warning: " not in line]


def _start_problems(result):
    """Of a program that ended before it was ready."""
    fault, row = result.fault, result.fault.row
    if not result.fired:
        yield f"it did not start, without a fault: exit {result.status}"
        return
    if row.start is Start.MAY_END:
        if result.status not in (0, -signal.SIGTERM):
            yield f"exit {result.status} after SIGTERM at start"
        return
    allowed = {Start.REFUSES: (1,), Start.WRONG_FILE: (2,), Start.EITHER: (1,),
               Start.ABORTS: (-signal.SIGABRT,)}.get(row.start, ())
    if result.status not in allowed:
        yield f"exit {result.status} at start, where it {row.start.value}"
    lines = _problem_lines(result.log)
    if fault.loses_log:
        return
    if len(lines) != 1:
        yield f"{len(lines)} lines of error instead of one: {lines}"
    elif not re.search(_reason(fault), lines[0]):
        yield f"the line does not say why: {lines[0]}"


def _reason(fault):
    """A pattern for the words by which a line tells of the fault."""
    words = [os.strerror(number_of(fault.error)), "memory", "not a listening TCP socket"]
    if "alloc" in fault.call:
        # What the C library makes of memory that lacks for a thread.
        words.append(os.strerror(errno.EAGAIN))
    return "|".join(map(re.escape, words))


def _status_problems(result):
    """Of the exit status of a program that was ready."""
    running = result.fault.row.running
    before_stop = result.fired > 0 and (not result.stop_sent or result.fired_at_stop > 0)
    right = (0,)
    if result.fired and running is Running.ABORTS:
        right = (-signal.SIGABRT,)
        if "bug in echopool" not in result.log and not result.fault.loses_log:
            yield "it aborted without a word"
    elif result.fired and running is Running.STOPS:
        # What befalls while it leaves anyway need not count.
        right = (1,) if before_stop else (0, 1)
        if (not re.search(r"^error: accept", result.log, re.MULTILINE) and
                not result.fault.loses_log):
            yield "it stopped without a word"
    if result.status not in right:
        yield f"exit {result.status} instead of {' or '.join(map(str, right))}"


def _client_problems(result):
    """Of connections that ended where the table does not allow it."""
    running, outcomes = result.fault.row.running, result.outcomes
    if outcomes[WRONG]:
        yield "wrong bytes"
    lost = outcomes[EARLY] + outcomes[REFUSED]
    allowed = {Running.HARMLESS: 0, Running.ENDS_ONE: result.fired}
    if running in allowed and lost > allowed[running]:
        yield f"{lost} connections ended early, {allowed[running]} may: {result.details}"
    # A second reason to stop, the runner's own SIGTERM, ends them at once.
    if running in (Running.STOPS, Running.DRAINS) and outcomes[EARLY] and not result.stop_sent:
        yield f"{outcomes[EARLY]} connections in service ended early: {result.details}"
    if result.fault.row.leaves and result.fired:
        return
    if result.unanswered:
        yield f"the admin endpoint did not answer for {result.unanswered}"
    if not result.next_served:
        yield f"the next client was not served: {result.details}"


def _reason_problems(result):
    """What a fault has ended is told in the log with the error; a reset needs no more words."""
    fault = result.fault
    if (result.fired <= result.fired_at_ready or fault.row.running is not Running.ENDS_ONE or
            fault.call not in ("recv", "send", "epoll_ctl_add", "epoll_ctl_mod") or
            fault.error in ("ECONNRESET", "EPIPE") or fault.loses_log):
        return
    if fault.scenario == "admin":  # which of the two it was cannot be told here
        return
    if os.strerror(number_of(fault.error)) not in result.log:
        yield "the log does not tell of it"


def _descriptor_problems(result, calm):
    """Of descriptors left open, at start or in service."""
    if result.last_descriptors is None:
        return
    for what, before, after in (
            ("while it served", result.first_descriptors, result.last_descriptors),
            ("at start", calm.first_descriptors if calm else result.first_descriptors,
             result.first_descriptors)):
        left = after - before
        if left:
            yield f"descriptors left open {what}: {dict(left)}"


def _reload_problems(result):
    """A reload is all or nothing: addresses and workers are those of one file."""
    if result.fault.scenario != "reload":
        return
    wanted = [(settings["listen.addresses"].count(",") + 1, int(settings["pool.workers"]))
              for settings in (SETTINGS | changes for changes in RELOADS)]
    wanted += [(SETTINGS["listen.addresses"].count(",") + 1, int(SETTINGS["pool.workers"]))] * 2
    before = wanted[-1]
    # An address that the kernel does not have is told and left out.
    may_lack = result.fault.error in ("EAFNOSUPPORT", "EADDRNOTAVAIL")
    for seen, now in zip(result.reloads, wanted + wanted[-1:] * len(result.reloads)):
        if seen not in (before, now) and not (may_lack and seen == (now[0] - 1, now[1])):
            yield f"a reload from {before} to {now} addresses and workers gave {seen}"
        if seen == before != now and not re.search(r"^error: ", result.log, re.MULTILINE):
            yield "a reload was refused without a word"
        before = seen
    if not (result.fired and result.fault.row.leaves) and result.reloads[-1:] != wanted[-1:]:
        yield f"the last reload did not apply: {result.reloads}"
    others = result.first_threads - int(SETTINGS["pool.workers"])
    if result.threads and result.threads != before[1] + others:
        yield f"{result.threads} threads with {before[1]} workers"


def _spin_problems(result, calm):
    """Of a program that woke far more often than it had to."""
    if calm is None:
        return
    for call in ("poll", "epoll_wait", "accept4", "recv", "send"):
        most = SPIN_FACTOR * calm.calls.get(call, 0) + SPIN_MOST
        if result.calls.get(call, 0) > most:
            yield f"{result.calls[call]} calls of {call}: it spins"


def problems(result, calm=None):
    """All that is wrong with a run; calm is a run of the same scenario without a fault."""
    found = []
    if result.stuck:
        found.append(result.stuck)
    if result.status == SANITIZER_STATUS or SANITIZER_REPORT.search(result.log):
        found.append("a sanitizer's report")
    if "inject: " in result.log:
        found.append("the injected library failed")
    if not found and not result.ready:
        found += _start_problems(result)
    elif not found:
        found += _status_problems(result)
        found += _client_problems(result)
        found += _descriptor_problems(result, calm)
        found += _reload_problems(result)
        found += _reason_problems(result)
        found += _spin_problems(result, calm)
        if result.fired_at_ready and result.fault.row.start in (Start.REFUSES, Start.WRONG_FILE):
            found.append(f"it started, where it {result.fault.row.start.value}")
        if ("queue waiting=" not in result.log and not result.fault.loses_log and
                not (result.fired and result.fault.row.leaves)):
            found.append("SIGUSR1 was not answered")
    return found


def verdict(result, found):
    """What came of the run, in a word."""
    if found:
        return FAILED
    if not result.ready:
        return NOT_STARTED if result.fault.error != SIGTERM else LEFT
    if result.status == -signal.SIGABRT:
        return ABORTED
    if result.fired and result.fault.row.leaves:
        return LEFT
    lost = result.outcomes[EARLY] + result.outcomes[REFUSED]
    return ENDED if lost else SERVED


__all__ = ["VERDICTS", "EXACT", "problems", "verdict"]
