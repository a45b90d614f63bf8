"""Count the cores that this process may use."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

PROC, CGROUPS = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")


def n_cores() -> int:
    """Return the number of cores that this process may use.

    A mask (taskset) or the quota of a control group (containers, batch systems) may allow fewer than the machine has. A
    quota that is no whole number of cores counts as the next larger one.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min([allowed, *(max(1, math.ceil(quota)) for quota in _quotas() if quota < math.inf)])


def _quotas() -> Iterator[float]:
    """Yield the quotas of processor time of this process's control groups and of all groups above, in cores.

    Source: https://docs.kernel.org/admin-guide/cgroup-v2.html (cpu.max) and
    https://docs.kernel.org/scheduler/sched-bwc.html (cpu.cfs_quota_us, version 1).
    """
    with suppress(OSError, ValueError):
        for line in PROC.read_text(encoding="utf-8").splitlines():
            _, controllers, group = line.split(":", 2)
            if controllers and "cpu" not in controllers.split(","):
                continue
            # In a container the group's own folder may be mounted as the root.
            for parent in (PurePosixPath(group), *PurePosixPath(group).parents):
                folder = CGROUPS / (controllers and "cpu") / parent.relative_to("/")
                with suppress(OSError, ValueError, ZeroDivisionError):
                    yield _quota_v1(folder) if controllers else _quota_v2(folder)


def _quota_v2(folder: Path) -> float:
    quota, period = (folder / "cpu.max").read_text(encoding="utf-8").split()
    return math.inf if quota == "max" else int(quota) / int(period)


def _quota_v1(folder: Path) -> float:
    quota, period = (int((folder / f"cpu.cfs_{name}_us").read_text(encoding="utf-8")) for name in ("quota", "period"))
    return math.inf if quota < 0 else quota / period
