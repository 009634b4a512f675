"""The machine: what a report says about it, and how many CPUs and descriptors there are."""

import math
import os
import platform
import re
import resource
import shutil
import subprocess
import time
from pathlib import Path

from common import cpu_quota

VERSION = re.compile(r"\d\.\d")
# How long describe() watches other programs, and which share of the CPUs is little.
LOOK_S = 0.3
LITTLE = 0.1


def cpus():
    """How many CPUs this process may use: by its affinity, and by its quota, rounded up."""
    return min(len(os.sched_getaffinity(0)), math.ceil(cpu_quota.read() or os.cpu_count()))


def default_threads():
    """The generator's threads: half of the CPUs, as the server needs some, but two if possible."""
    return min(cpus(), max(2, cpus() // 2))


def _field(path, pattern):
    """The first group of the first line of a file that matches; None without."""
    try:
        text = Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    found = re.search(pattern, text, re.MULTILINE)
    return found[1].strip() if found else None


def _cpu_ticks():
    """(busy, all) ticks of all CPUs since the machine started; (0, 0) where /proc lacks them."""
    ticks = [int(word) for word in (_field("/proc/stat", r"^cpu +(.*)$") or "").split()]
    # Guests are counted in the first two already. The fourth and fifth are idle.
    ticks = ticks[:8]
    return sum(ticks) - sum(ticks[3:5]), sum(ticks)


def used_by_others():
    """How many CPUs are in use while this process sleeps a moment; None when /proc does not say."""
    before = _cpu_ticks()
    time.sleep(LOOK_S)
    busy, total = (now - then for now, then in zip(_cpu_ticks(), before))
    return os.cpu_count() * busy / total if total > 0 else None


def describe():
    """The machine as a dictionary: cpu, cpus, quota, memory_mib, kernel, system, cpus_in_use, date.
    """
    total_kib = _field("/proc/meminfo", r"^MemTotal:\s+(\d+) kB")
    return {"cpu": _field("/proc/cpuinfo", r"^model name\s*:(.*)$") or platform.machine(),
            "cpus": cpus(),
            "quota": cpu_quota.read(),
            "memory_mib": int(total_kib) // 1024 if total_kib else None,
            "kernel": platform.release(),
            "system": _field("/etc/os-release", r'^PRETTY_NAME="?([^"]*)"?$') or platform.system(),
            "cpus_in_use": used_by_others(),
            "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())}


def text(found):
    """What describe() found, as lines of a report."""
    in_use = found["cpus_in_use"]
    others = "" if in_use is None else f"; CPUs in use before the start: {in_use:.2f}"
    quota = f" (a CPU quota of {found['quota']:.2f})" if found["quota"] else ""
    memory = f", {found['memory_mib']:,} MiB" if found["memory_mib"] else ""
    return (f"machine: {found['cpu']}, {found['cpus']} CPU{'s' if found['cpus'] > 1 else ''}"
            f"{quota}{memory}; {found['system']}, Linux {found['kernel']}\n"
            f"date: {found['date']}{others}\n")


def busy(found):
    """A warning when something else used the machine; None when it was idle enough."""
    in_use = found["cpus_in_use"]
    if in_use is None or in_use < LITTLE * found["cpus"]:
        return None
    return (f"{in_use:.2f} CPUs were in use before the start: what else runs here takes CPU from "
            "the servers and widens the spread")


def raise_descriptors(wanted):
    """Raises the limit of descriptors, which children inherit; returns the limit."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    for limit in (max(hard, wanted), hard):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
            return limit
        except (ValueError, OSError):
            pass
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def said(*command):
    """The line in which a program says its version; None without one."""
    if not shutil.which(command[0]):
        return None
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = [line for line in (done.stdout + done.stderr).splitlines() if VERSION.search(line)]
    return lines[0].strip() if lines else None
