"""The CPU quota of control groups: what the pool, echoload and the benchmark make of it."""

import os
import subprocess
from pathlib import Path

import pytest

from common import cpu_quota
from echoload import at, needs_echoload, outcome_of, run
from harness import CHECKOUT, UNIQUE, seconds

PERIOD_US = 100_000
V1, V2 = Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup")


class CpuGroup:
    """A control group with a CPU quota, by the version that the kernel has its CPUs in.

    wrapper: a command prefix that puts the program into it.
    """

    def __init__(self, cpus):
        self.group = (V1 if V1.is_dir() else V2) / f"echopool-test-{UNIQUE}"
        try:
            self.group.mkdir()
        except OSError as error:
            pytest.skip(f"needs a cgroup: {error}")
        self.wrapper = ["sh", "-c", 'echo $$ > "$0/cgroup.procs"; exec "$@"', self.group]
        try:
            self._limit(int(cpus * PERIOD_US))
        except OSError as error:
            self.remove()
            pytest.skip(f"needs a cgroup with a CPU quota: {error}")

    def _limit(self, quota_us):
        if (self.group / "cpu.cfs_quota_us").exists():
            (self.group / "cpu.cfs_period_us").write_text(str(PERIOD_US), encoding="ascii")
            (self.group / "cpu.cfs_quota_us").write_text(str(quota_us), encoding="ascii")
        else:
            (self.group / "cpu.max").write_text(f"{quota_us} {PERIOD_US}", encoding="ascii")

    def remove(self):
        self.group.rmdir()


@pytest.fixture
def with_quota():
    """A function that makes a group with a quota of so many CPUs; returns its wrapper.

    It comes before start in a test: the group goes after the programs in it.
    """
    made = []

    def make(cpus):
        made.append(CpuGroup(cpus))
        return made[-1].wrapper

    yield make
    for group in made:
        group.remove()


def test_workers_0_is_one_at_half_a_cpu(with_quota, start):
    server = start({"pool.workers": 0}, wrapper=with_quota(0.5))
    assert server.limits["workers"] == 1
    server.connect().echo()


def test_workers_0_rounds_up_and_is_never_more_than_the_cpus(with_quota, start):
    server = start({"pool.workers": 0}, wrapper=with_quota(1.1))
    assert server.limits["workers"] == min(2, len(os.sched_getaffinity(0)))


@needs_echoload
@pytest.mark.parametrize("limited", ["generator", "server"])
def test_echoload_says_that_the_quota_was_used_up(with_quota, start, limited):
    """A hundredth of a CPU, which a busy machine gives, too."""
    wrapper = with_quota(0.01)
    server = start({"pool.workers": 1}, wrapper=wrapper if limited == "server" else [])
    report = outcome_of(run("-j", "-", "-c", 8, "-w", 0.2, "-d", 2, "-S", server.pid,
                            at(server.address), wrapper=wrapper if limited != "server" else [],
                            timeout=60)).report
    assert report["limited_by"] == "quota" and report["cpu"]["quota"] == 0.01


def test_the_benchmark_names_the_quota(with_quota):
    code = "from common import machine; print(machine.text(machine.describe()), machine.cpus())"
    done = subprocess.run([*with_quota(0.5), "/usr/bin/python3", "-c", code], text=True,
                          cwd=CHECKOUT / "bench", capture_output=True, timeout=seconds(30),
                          check=True)
    assert ", 1 CPU (a CPU quota of 0.50)" in done.stdout and done.stdout.split()[-1] == "1"


ONE = "32 23 0:29 {root} {top} rw - cgroup cgroup rw,cpu,cpuacct\n"
TWO = "30 23 0:27 {root} {top} rw shared:9 - cgroup2 cgroup2 rw\n"


@pytest.mark.parametrize("groups, mounts, root, files, cpus", [
    ("0::/a/b", TWO, "/", {}, None),
    ("0::/a/b", TWO, "/", {"a/b/cpu.max": "max 100000"}, None),
    ("0::/a/b", TWO, "/", {"a/b/cpu.max": "150000 100000", "a/cpu.max": "max 100000"}, 1.5),
    ("0::/a/b", TWO, "/", {"a/b/cpu.max": "150000 100000", "a/cpu.max": "5000 10000"}, 0.5),
    ("0::/", TWO, "/", {"cpu.max": "50000 100000"}, 0.5),
    ("0::/../b", TWO, "/", {"cpu.max": "50000 100000"}, 0.5),
    ("0::/a", TWO, "/", {"a/cpu.max": "many 100000"}, None),
    ("0::/a", "", "/", {"a/cpu.max": "50000 100000"}, None),
    ("3:cpu,cpuacct:/a", ONE, "/", {"a/cpu.cfs_quota_us": "-1", "a/cpu.cfs_period_us": "9"}, None),
    ("3:cpu,cpuacct:/a", ONE, "/", {"a/cpu.cfs_quota_us": "6", "a/cpu.cfs_period_us": "8"}, 0.75),
    ("3:cpuset:/a", ONE, "/", {"a/cpu.cfs_quota_us": "6", "a/cpu.cfs_period_us": "8"}, None),
    ("3:cpu:/docker/abc", ONE, "/docker/abc",
     {"cpu.cfs_quota_us": "6", "cpu.cfs_period_us": "8"}, 0.75),
])
def test_the_benchmark_finds_the_tightest_quota(tmp_path, groups, mounts, root, files, cpus):
    for name, text in files.items():
        path = tmp_path / "top" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n", encoding="ascii")
    (tmp_path / "cgroup").write_text(groups + "\n", encoding="ascii")
    (tmp_path / "mountinfo").write_text(mounts.format(root=root, top=tmp_path / "top"),
                                        encoding="ascii")
    assert cpu_quota.read(tmp_path / "cgroup", tmp_path / "mountinfo") == cpus
