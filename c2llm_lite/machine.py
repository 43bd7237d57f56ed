"""The cores and memory that the operating system and the cgroup grant this process."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

# ggml aborts beyond 512 threads, and OpenMP when the system cannot start so many. More than eight per CPU never help.
MOST_THREADS = min(512, 8 * (os.cpu_count() or 1))

_CGROUP = Path("/sys/fs/cgroup")
_CGROUP_V1_MEMORY = _CGROUP / "memory"
_OWN_GROUPS = Path("/proc/self/cgroup")
_MEMINFO = Path("/proc/meminfo")
_CPUS = Path("/sys/devices/system/cpu")


def cores() -> int:
    """Physical cores among the CPUs this process may run on, within the cgroup's CPU quota; at least 1.

    Two threads of one core share its vector units, so a second one adds nothing to matrix products.
    """
    try:
        allowed = os.sched_getaffinity(0)
    except AttributeError:  # only Linux has it
        return os.cpu_count() or 1
    siblings = {_read(_CPUS / f"cpu{cpu}/topology/thread_siblings_list") or str(cpu) for cpu in allowed}
    return max(1, min(len(siblings), _cpu_quota()))


def free_memory() -> int | None:
    """Free bytes, within the cgroup's limit; None if neither can be read."""
    limits = [free for free in (_system_free(), *_cgroup_free()) if free is not None]
    return min(limits, default=None)


def _cpu_quota() -> int:
    """The smallest quota of this process's control group and of its parents, in whole CPUs."""
    found = [os.cpu_count() or 1]
    quotas = [_read(group / "cpu.max").partition(" ")[::2] for group in _groups(_CGROUP, "")]
    version1 = _groups(_CGROUP / "cpu", "cpu")
    quotas += [(_read(group / "cpu.cfs_quota_us"), _read(group / "cpu.cfs_period_us")) for group in version1]
    for quota, period in quotas:
        if quota.isdecimal() and period.isdecimal() and int(quota) and int(period):
            found.append(max(1, int(quota) // int(period)))
    return min(found)


def _system_free() -> int | None:
    for line in _read(_MEMINFO).splitlines():
        name, _, amount = line.partition(":")
        if name == "MemAvailable":
            return int(amount.split()[0]) * 1024
    return None


def _cgroup_free() -> list[int | None]:
    version2 = [_left(group / "memory.max", group / "memory.current") for group in _groups(_CGROUP, "")]
    version1 = [
        _left(group / "memory.limit_in_bytes", group / "memory.usage_in_bytes")
        for group in _groups(_CGROUP_V1_MEMORY, "memory")
    ]
    return version2 + version1


def _groups(mount: Path, controller: str) -> list[Path]:
    """The folders below `mount` of this process's control group and of its parents, the outermost last.

    controller: of cgroup v1, or "" for v2 (man 7 cgroups, /proc/pid/cgroup). In a container the path may be the host's;
    what is not there has no limit to read.
    """
    for line in _read(_OWN_GROUPS).splitlines():
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            own = PurePosixPath(path)
            return [mount / group.relative_to("/") for group in (own, *own.parents)]
    return [mount]


def _left(limit: Path, used: Path) -> int | None:
    limit_text, used_text = _read(limit), _read(used)
    if not (limit_text.isdecimal() and used_text.isdecimal()):  # "max" if there is none
        return None
    # The page cache counts as used and is given back on demand. Version 1 has the groups below in the totals alone.
    stat = dict(line.split(" ", 1) for line in _read(limit.parent / "memory.stat").splitlines() if " " in line)
    cached = [stat.get(f"total_{name}", stat.get(name, "0")) for name in ("inactive_file", "active_file")]
    return int(limit_text) - int(used_text) + sum(map(int, cached))


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
