"""What a container leaves to this process of memory and cores; outside of one, all there is.

No model library is loaded for it, on no machine, so that the app may ask as well.
"""

from __future__ import annotations

from pathlib import Path

import psutil

_CGROUP = Path("/sys/fs/cgroup")
#: A container without a memory limit reports a number near 2**63.
_NO_LIMIT = 1 << 60


def memory() -> tuple[int, int]:
    """Bytes of memory in all and available, the container's limit included; files that it read and may drop count as available."""
    machine = psutil.virtual_memory()
    limit = _cgroup_number("memory", "memory.max", "memory.limit_in_bytes")
    used = _cgroup_number("memory", "memory.current", "memory.usage_in_bytes")
    if limit is None or used is None or limit >= _NO_LIMIT:
        return int(machine.total), int(machine.available)
    return min(int(machine.total), limit), min(int(machine.available), max(0, limit - used + min(used, _droppable())))


def cpu_quota() -> int | None:
    """Whole cores that the container's quota allows, at least 1; None without a quota."""
    version_2 = file_text(_cgroup_folder("") / "cpu.max").split() or file_text(_CGROUP / "cpu.max").split()
    if len(version_2) == 2 and version_2[0].isdigit():
        return max(1, int(version_2[0]) // int(version_2[1]))
    quota = _cgroup_number("cpu", "", "cpu.cfs_quota_us")
    period = _cgroup_number("cpu", "", "cpu.cfs_period_us")
    return max(1, quota // period) if quota and period and quota > 0 else None


def _droppable() -> int:
    """Bytes of files in this control group's page cache that the system takes back first."""
    for folder in (_cgroup_folder(""), _CGROUP, _cgroup_folder("memory"), _CGROUP / "memory"):
        told = dict(line.split(" ", 1) for line in file_text(folder / "memory.stat").splitlines() if " " in line)
        # Version 1 counts its groups below under another name.
        found = told.get("total_inactive_file", told.get("inactive_file", ""))
        if found.isdigit():
            return int(found)
    return 0


def _cgroup_number(controller: str, version_2: str, version_1: str) -> int | None:
    """A number of this process's control group, by either version's name."""
    places = [(_cgroup_folder(""), version_2), (_CGROUP, version_2)] if version_2 else []
    places += [(_cgroup_folder(controller), version_1), (_CGROUP / controller, version_1)]
    for folder, name in places:
        if (told := file_text(folder / name)).lstrip("-").isdigit():
            return int(told)
    return None


def _cgroup_folder(controller: str) -> Path:
    """Where a controller's files of this process lie; the empty controller is version 2's."""
    for line in file_text(Path("/proc/self/cgroup")).splitlines():
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            return _CGROUP / controller / path.lstrip("/")
    return _CGROUP / controller


def file_text(path: Path) -> str:
    """What a file of the system says; nothing where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
