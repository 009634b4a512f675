"""Reads from /proc what a process and its descendants use; one that has ended uses nothing."""

import os
import re
from pathlib import Path

GONE = (FileNotFoundError, ProcessLookupError)


def _read(path):
    """The text of a file of /proc, or "" when its process has ended."""
    try:
        return Path(path).read_text(encoding="ascii", errors="replace")
    except GONE:
        return ""


def _tasks(pid):
    """The directories of the threads of a process."""
    try:
        return [f"/proc/{pid}/task/{name}" for name in os.listdir(f"/proc/{pid}/task")]
    except GONE:
        return []


def family(pid):
    """The ids of the process and of its living descendants, the process first."""
    found = [pid]
    for parent in found:
        for task in _tasks(parent):
            found += map(int, _read(f"{task}/children").split())
    return found


def memory_bytes(pid):
    """Resident memory of a process and its descendants; shared pages count once (Pss)."""
    total = 0
    for member in family(pid):
        found = re.search(r"^Pss:\s+(\d+) kB", _read(f"/proc/{member}/smaps_rollup"), re.MULTILINE)
        total += int(found[1]) * 1024 if found else 0
    return total


def context_switches(pid):
    """(voluntary, involuntary) context switches of all living threads of it and its descendants."""
    totals = {"voluntary": 0, "nonvoluntary": 0}
    for member in family(pid):
        for task in _tasks(member):
            status = _read(f"{task}/status")
            for kind, count in re.findall(r"^(\w+)_ctxt_switches:\s+(\d+)", status, re.MULTILINE):
                totals[kind] += int(count)
    return totals["voluntary"], totals["nonvoluntary"]


def cpu_ticks(pid):
    """(user, kernel) ticks of CPU time of a process so far; FileNotFoundError when it has ended."""
    stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    fields = stat.rpartition(")")[2].split()
    return int(fields[11]), int(fields[12])
