#!/usr/bin/python3
"""Tries the installed units under real systemds: a Debian 12 and a Debian 13 boot in containers.

A boot writes to an overlay in memory, so that the roots stay as they were made. In the container
echopool is built from this tree and installed, and test_units.py is run. Arguments go to pytest.
The last line is the sum.
"""

import argparse
import contextlib
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

from roots import cached_root

SUITES = ["bookworm", "trixie"]
PACKAGES = ["systemd", "systemd-sysv", "procps", "gcc", "libc6-dev", "meson", "ninja-build",
            "pkg-config", "libconfig-dev", "libsystemd-dev", "libmicrohttpd-dev",
            "python3-pytest"]
SOURCE = pathlib.Path(__file__).resolve().parents[2]
TOOLS = ["mmdebstrap", "systemd-nspawn", "unshare", "nsenter", "mount", "setpriv"]
BOOT_SECONDS = 120


def say(text):
    print(f"tests/system: {text}", flush=True)


def reason_not_to_run():
    if os.geteuid() != 0:
        return "needs root"
    for tool in TOOLS:
        if not shutil.which(tool):
            return f"needs {tool}"
    tried = subprocess.run(["unshare", "--mount", "--net", "mount", "-t", "tmpfs", "tmpfs", "/mnt"],
                           capture_output=True, text=True)
    if tried.returncode:
        return f"needs namespaces: {tried.stderr.strip()}"
    if not cgroup_root():
        return "needs a cgroup2 file system"
    return None


def cgroup_root():
    """Where version 2 of the cgroups is mounted; None where it is not."""
    for line in pathlib.Path("/proc/self/mounts").read_text().splitlines():
        _, where, kind, options = line.split()[:4]
        if kind == "cgroup2" and "rw" in options.split(","):
            return pathlib.Path(where)
    return None


@contextlib.contextmanager
def own_cgroup():
    """This process in a cgroup of its own, and below it the container's; ends all of that."""
    root = cgroup_root()
    own = root / f"echopool-system-{os.getpid()}"
    own.mkdir()
    (own / "cgroup.procs").write_text("0")
    try:
        yield
    finally:
        (root / "cgroup.procs").write_text("0")
        (own / "cgroup.kill").write_text("1")
        while "populated 1" in (own / "cgroup.events").read_text():
            time.sleep(0.01)
        for directory, _, _ in os.walk(own, topdown=False):
            os.rmdir(directory)


def boot(root, scratch):
    """A container that has booted, until the cgroup ends. What is written to it goes to memory.
    Returns its PID 1."""
    for name in ("upper", "work", "root"):
        (scratch / name).mkdir()
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o",
                    f"lowerdir={root},upperdir={scratch}/upper,workdir={scratch}/work",
                    scratch / "root"], check=True)
    with open(scratch / "console", "w+") as console, \
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(str(scratch / "notify"))
        subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", "systemd-nspawn", "--quiet", "--boot",
             "--register=no", "--keep-unit", "--private-network", "--notify-ready=yes",
             "--console=pipe", f"--directory={scratch / 'root'}", f"--bind-ro={SOURCE}:/source"],
            stdin=subprocess.DEVNULL, stdout=console, stderr=subprocess.STDOUT,
            env=os.environ | {"NOTIFY_SOCKET": str(scratch / "notify"),
                              "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"})
        return wait_booted(notify, console)


def wait_booted(notify, console):
    """Waits until systemd says that it is ready; returns its process id. The socket is closed then:
    systemd goes on telling, and would wait for who does not read."""
    notify.settimeout(BOOT_SECONDS)
    told = ""
    try:
        while not (leader := re.search("^X_NSPAWN_LEADER_PID=([0-9]+)$", told, re.M)) or \
                not re.search("^READY=1$", told, re.M):
            told += notify.recv(4096).decode() + "\n"
    except TimeoutError:
        console.seek(0)
        sys.exit(f"the container did not boot in {BOOT_SECONDS} s:\n{console.read()}")
    return leader[1]


def run_in(leader, *command, **options):
    return subprocess.run(["nsenter", "--target", leader, "--all", "env", "--chdir=/", "-i",
                           "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8",
                           "PYTHONDONTWRITEBYTECODE=1", *command], text=True, **options)


BUILD = """
meson setup /build /source --prefix=/usr --buildtype=release --werror -Dbench=disabled
meson install -C /build
systemctl daemon-reload
"""


def test_suite(suite, arguments):
    """Builds, installs and tests in a container of this suite; returns pytest's last line."""
    with tempfile.TemporaryDirectory(prefix="echopool-system.") as directory:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", directory], check=True)
        try:
            root = cached_root(suite, PACKAGES, "--mode=root", "--variant=minbase")
            with own_cgroup():
                leader = boot(root, pathlib.Path(directory))
                say(f"Debian {suite}: booted, building")
                built = run_in(leader, "sh", "-ec", BUILD, capture_output=True)
                if built.returncode:
                    say(built.stdout + built.stderr)
                    return "0 passed, 1 failed"
                say(f"Debian {suite}: testing")
                tested = run_in(leader, "python3", "-m", "pytest", "-p", "no:cacheprovider", "-v",
                                "/source/tests/system/test_units.py", *arguments,
                                stdout=subprocess.PIPE)
                print(tested.stdout, flush=True)
                return tested.stdout.splitlines()[-1]
        finally:
            subprocess.run(["umount", "--recursive", "--lazy", directory], check=True)


def count(word, text):
    found = re.search(rf"(\d+) {word}", text)
    return int(found[1]) if found else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--suite", choices=SUITES, action="append", help="only this Debian")
    options, arguments = parser.parse_known_args()
    if reason := reason_not_to_run():
        print(f"not run: tests/system: {reason}\n0 passed, 0 failed, 1 skipped")
        return 0
    if "ECHOPOOL_SYSTEM_INSIDE" not in os.environ:
        # In a mount namespace of its own, so that no mount outlives it.
        os.environ["ECHOPOOL_SYSTEM_INSIDE"] = "1"
        os.execvp("unshare", ["unshare", "--mount", sys.executable, *sys.argv])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    ends = [test_suite(suite, arguments) for suite in options.suite or SUITES]
    passed = sum(count("passed", end) for end in ends)
    failed = sum(count("failed", end) + count("error", end) for end in ends)
    print(f"{passed} passed, {failed} failed")
    return 0 if passed and not failed else 1


if __name__ == "__main__":
    sys.exit(main())
