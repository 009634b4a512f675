"""The kinds of machines on which script/first-try runs the suite.

Each class is one: its name in small letters is what the command line takes, its text what is told.
"""

import contextlib
import ctypes
import glob
import os
import re
import resource
import shutil
import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
STATE = CHECKOUT / "build-first-try"  # what is kept: results, and the pristine Debians
SLOW_FILES = CHECKOUT / "script" / "slow_files.py"
MIRROR = "http://deb.debian.org/debian"
NOBODY = 65534
CLONE_NEWUSER = 0x10000000
IS_ROOT = os.geteuid() == 0


class Kind:
    """What they have in common; by itself it changes nothing."""

    runs = 1
    needs_root = False
    programs = ()

    @classmethod
    def name(cls):
        return re.sub(r"(?<=.)([A-Z0-9]+)", r"-\1", cls.__name__).lower()

    def missing(self):
        """Why it cannot be run here; None if it can."""
        if self.needs_root and not IS_ROOT:
            return "needs root"
        missing = [program for program in self.programs if not shutil.which(program)]
        return f"needs {', '.join(missing)}: script/bootstrap --first-try" if missing else None

    def command(self, work, clone):
        """What is run in the clone; work is a folder that is removed afterwards."""
        return ["script/test"]

    def in_child(self):
        """Called in the process that becomes the command."""

    @contextlib.contextmanager
    def around(self):
        """What is there while the command runs."""
        yield


class User(Kind):
    """an ordinary user without capabilities, who may make no namespace"""

    runs = 2
    programs = ("setpriv",)

    def command(self, work, clone):
        who = []
        if IS_ROOT:
            for path in [work, *work.rglob("*")]:
                os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
            who = [f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
        return ["setpriv", *who, "--no-new-privs", "--inh-caps=-all", "--bounding-set=-all",
                "env", f"HOME={work}", "script/test"]

    def in_child(self):
        """A user namespace in which the limits for namespaces can be 0 and are, for it alone."""
        read, write = os.pipe()
        outside = os.fork()
        if outside == 0:
            os.read(read, 1)
            self._map_users(os.getppid())
            os._exit(0)
        if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWUSER) != 0:
            raise OSError(ctypes.get_errno(), "unshare")
        os.write(write, b"x")
        if os.waitpid(outside, 0)[1] != 0:
            raise OSError("the users cannot be mapped")
        for limit in glob.glob("/proc/sys/user/max_*_namespaces"):
            Path(limit).write_text("0", encoding="ascii")

    @staticmethod
    def _map_users(pid):
        """Everybody is who he was; without privilege there is only one."""
        proc, user, group = Path(f"/proc/{pid}"), os.getuid(), os.getgid()
        if not IS_ROOT:
            (proc / "setgroups").write_text("deny", encoding="ascii")
        for file, one in (("uid_map", user), ("gid_map", group)):
            text = "0 0 4294967295" if IS_ROOT else f"{one} {one} 1"
            (proc / file).write_text(text, encoding="ascii")


class Taskset(Kind):
    """one CPU"""

    runs = 2

    def in_child(self):
        os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])


class Ulimit(Kind):
    """1,024 descriptors, soft and hard"""

    def in_child(self):
        resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 1024))


class Slow(Kind):
    """a folder for temporary files in which each write takes 50 ms"""

    needs_root = True

    def missing(self):
        return super().missing() or (None if os.path.exists("/dev/fuse") else "needs /dev/fuse")

    def command(self, work, clone):
        slow = work / "slow"
        slow.mkdir()
        slow.chmod(0o1777)
        return [sys.executable, SLOW_FILES, slow, "script/test"]


class Debian13(Kind):
    """a bare Debian 13 (trixie), in namespaces of its own"""

    runs = 2
    needs_root = True
    programs = ("debootstrap", "unshare", "chroot")
    suite = "trixie"
    INSIDE = """
        set -e
        mount --make-rprivate /
        mount --bind "$1" "$1"
        mount -t proc proc "$1/proc"
        mount -t tmpfs -o mode=1777 tmpfs "$1/dev/shm"
        mount -t devpts -o newinstance,ptmxmode=0666 devpts "$1/dev/pts"
        ln -sf pts/ptmx "$1/dev/ptmx"
        cp /etc/resolv.conf /etc/hosts "$1/etc"
        exec chroot "$1" env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin "${@:2}" \
            sh -c 'cd /root/echopool && exec script/test'
        """

    def command(self, work, clone):
        pristine = STATE / self.suite
        if not pristine.exists():
            new = STATE / f"{self.suite}.new"
            shutil.rmtree(new, ignore_errors=True)
            print(f"fetching {self.suite}", flush=True)
            with open(STATE / f"{self.suite}.log", "wb") as log:
                subprocess.run(["debootstrap", "--variant=minbase", self.suite, new, MIRROR],
                               check=True, stdout=log, stderr=log)
            new.rename(pristine)
        root = work / "root"
        subprocess.run(["cp", "-a", "--reflink=auto", pristine, root], check=True)
        shutil.move(clone, root / "root" / "echopool")
        proxies = [f"{name}={value}" for name, value in os.environ.items()
                   if name.lower().endswith("_proxy")]
        return ["unshare", "--mount", "--pid", "--fork", "--kill-child",
                "bash", "-c", self.INSIDE, "bash", root, *proxies]


class Debian12(Debian13):
    """a bare Debian 12 (bookworm), likewise; only when it is asked for"""

    runs = 0
    suite = "bookworm"


class Busy(Kind):
    """beside two busy loops for each CPU"""

    runs = 5

    @contextlib.contextmanager
    def around(self):
        loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"])
                 for _ in range(2 * len(os.sched_getaffinity(0)))]
        try:
            yield
        finally:
            for loop in loops:
                loop.kill()
                loop.wait()


class Quiet(Kind):
    """a machine with nothing else to do: leave it alone meanwhile"""

    runs = 5


KINDS = [kind() for kind in (User, Taskset, Ulimit, Slow, Debian13, Debian12, Busy, Quiet)]
