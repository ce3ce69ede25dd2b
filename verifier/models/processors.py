"""How many processors this process may really use: affinity and cgroup quota, not the machine."""

from __future__ import annotations

import os
from pathlib import Path


def available_processors(root: Path = Path("/")) -> int:
    """Count the whole processors granted to this process, at least 1.

    A container that is limited to two of 64 cores still sees 64 of them; a thread pool of 64 is
    then throttled by the kernel. Sources: ``sched_getaffinity``, ``cpu.max`` (cgroup v2) and
    ``cpu.cfs_quota_us`` (v1). A broken quota is rounded down: 1.5 processors carry one thread.
    `root` is where ``proc`` and ``sys`` are mounted; other than "/" in tests only.
    """
    granted = _affinity()
    quota = _cgroup_quota(root)
    return max(1, granted if quota is None else min(granted, int(quota)))


def _affinity() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _cgroup_quota(root: Path) -> float | None:
    """Find the tightest quota between this process's group and the top, in processors."""
    found = [
        quota
        for group in _groups(root)
        if (quota := _quota_v2(group)) is not None or (quota := _quota_v1(group)) is not None
    ]
    return min(found) if found else None


def _groups(root: Path) -> list[Path]:
    """List the folders that may hold a quota for this process, most specific first."""
    membership = _text(root / "proc/self/cgroup")
    mounts = root / "sys/fs/cgroup"
    folders: list[Path] = []
    for line in (membership or "").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        names = controllers.split(",")
        if controllers and "cpu" not in names:
            continue
        hierarchy = mounts / controllers if controllers else mounts
        inside = Path(path.lstrip("/"))
        folders += [hierarchy / step for step in (inside, *inside.parents)]
    # With a cgroup namespace or a bind mount the path above may not exist below the mount.
    return list(dict.fromkeys([*folders, mounts, mounts / "cpu", mounts / "cpu,cpuacct"]))


def _quota_v2(group: Path) -> float | None:
    fields = (_text(group / "cpu.max") or "").split()
    if len(fields) != 2 or fields[0] == "max":
        return None
    return _ratio(fields[0], fields[1])


def _quota_v1(group: Path) -> float | None:
    quota = _text(group / "cpu.cfs_quota_us")
    period = _text(group / "cpu.cfs_period_us")
    return None if quota is None or period is None else _ratio(quota, period)


def _ratio(quota_us: str, period_us: str) -> float | None:
    quota, period = int(quota_us), int(period_us)
    return quota / period if quota > 0 and period > 0 else None  # v1 says -1 for "no limit"


def _text(path: Path) -> str | None:
    return path.read_text(encoding="ascii").strip() if path.is_file() else None
