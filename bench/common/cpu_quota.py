"""The CPU quota of this process: what its control groups let it use (cgroups(7)).

By version 2 (cpu.max) or version 1 (cpu.cfs_quota_us), at any level above it.
"""

from pathlib import Path, PurePosixPath


def _lines(path):
    """The lines of a file; none where it cannot be read."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def _mount(mounts, is_v2):
    """Where a hierarchy is mounted, and the group that is seen there; None: nowhere."""
    for line in _lines(mounts):
        place, _, kind = line.partition(" - ")
        place, kind = place.split(), kind.split()
        if len(place) >= 5 and len(kind) == 3 and (
                kind[0] == "cgroup2" if is_v2
                else kind[0] == "cgroup" and "cpu" in kind[2].split(",")):
            return Path(place[4]), place[3]
    return None


def _quota_of(directory):
    """The quota of one group; None: it has none."""
    words = " ".join(_lines(directory / "cpu.max")[:1]
                     or (_lines(directory / "cpu.cfs_quota_us")
                         + _lines(directory / "cpu.cfs_period_us"))).split()
    try:
        quota, period = map(int, words)
    except ValueError:
        return None
    return quota / period if quota > 0 and period > 0 else None


def read(groups="/proc/self/cgroup", mounts="/proc/self/mountinfo"):
    """How many CPUs the tightest quota gives; None: there is no quota."""
    found = []
    for line in _lines(groups):
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        mount = _mount(mounts, number == "0")
        if not mount or not (number == "0" or "cpu" in controllers.split(",")):
            continue
        top, root = mount
        group = PurePosixPath(path)
        seen = group.is_relative_to(root) and ".." not in group.parts
        directory = top / group.relative_to(root) if seen else top
        found += [_quota_of(each) for each in (directory, *directory.parents)
                  if each.is_relative_to(top)]
    return min(filter(None, found), default=None)
