"""What this process may use of the processor and the memory; no model library is loaded for it.

Cores are those that affinity and the container's quota leave to this process, not the machine's.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
from functools import cache
from pathlib import Path

import msgspec
import psutil

_SYSFS = Path("/sys/devices/system/cpu")
_CGROUP = Path("/sys/fs/cgroup")
_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
#: A container without a memory limit reports a number near 2**63.
_NO_LIMIT = 1 << 60


class Cpu(msgspec.Struct, frozen=True, kw_only=True):
    """The processor and memory of this process. Memory and cache are in bytes.

    ``bf16`` is whether the processor multiplies bfloat16 natively; ``last_level_cache`` is absent
    where the system does not tell.
    """

    name: str
    physical_cores: int
    logical_cores: int
    memory_total: int
    memory_available: int
    bf16: bool
    last_level_cache: int | None


def describe_cpu() -> Cpu:
    """The processor as this process sees it now."""
    total, available = memory()
    return Cpu(
        name=cpu_name(),
        physical_cores=physical_cores(),
        logical_cores=logical_cores(),
        memory_total=total,
        memory_available=available,
        bf16=native_bf16(),
        last_level_cache=last_level_cache(),
    )


def logical_cores() -> int:
    """Hardware threads that this process may run on, at least 1."""
    return max(1, min(len(_affinity()), _quota() or 1 << 16))


def physical_cores() -> int:
    """Cores behind those hardware threads, at least 1: two threads of one core count once."""
    return max(1, min(_cores_behind(_affinity()), _quota() or 1 << 16))


def memory() -> tuple[int, int]:
    """Bytes of memory in all and available, the container's limit included."""
    machine = psutil.virtual_memory()
    limit = _cgroup_number("memory", "memory.max", "memory.limit_in_bytes")
    used = _cgroup_number("memory", "memory.current", "memory.usage_in_bytes")
    if limit is None or used is None or limit >= _NO_LIMIT:
        return int(machine.total), int(machine.available)
    return min(int(machine.total), limit), min(int(machine.available), max(0, limit - used))


@cache
def cpu_name() -> str:
    """The maker's name of the processor, or the machine type where the system does not tell."""
    match = re.search(r"^(?:model name|Hardware)\s*:\s*(.+)$", _cpuinfo(), re.MULTILINE)
    return (match[1].strip() if match else _sysctl("machdep.cpu.brand_string")) or platform.processor() or _machine()


@cache
def native_bf16() -> bool:
    """Whether the processor has bfloat16 products of its own (AVX-512 BF16, AMX, Arm BF16)."""
    if flags := _flags():
        return not {"avx512_bf16", "amx_bf16", "bf16"}.isdisjoint(flags)
    if platform.system() == "Darwin":
        return _sysctl("hw.optional.arm.FEAT_BF16") == "1"
    return not {"avx512_bf16", "amx_bf16", "arm_bf16", "bf16"}.isdisjoint(_torch_capabilities())


def has_amx() -> bool:
    """Whether the processor multiplies tiles of bfloat16 (Intel AMX)."""
    return "amx_bf16" in (_flags() or _torch_capabilities())


@cache
def last_level_cache() -> int | None:
    """Bytes of the largest cache level, or None where the system does not tell."""
    sizes = [_cache_bytes(path) for path in _SYSFS.glob("cpu0/cache/index*/size")]
    apple = [int(text) for key in ("hw.l3cachesize", "hw.perflevel0.l2cachesize") if (text := _sysctl(key)).isdigit()]
    return max([*sizes, *apple], default=0) or None


def _flags() -> list[str]:
    """What the processor can do, by Linux's names; empty elsewhere."""
    match = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", _cpuinfo(), re.MULTILINE)
    return match[1].split() if match else []


def _affinity() -> list[int]:
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    process = psutil.Process()
    if hasattr(process, "cpu_affinity"):
        return list(process.cpu_affinity())
    return list(range(psutil.cpu_count(logical=True) or 1))


def _cores_behind(threads: list[int]) -> int:
    """Distinct (package, core) pairs of hardware threads; their share of all cores without sysfs."""
    pairs = {(_read(t, "physical_package_id"), _read(t, "core_id")) for t in threads}
    if ("", "") not in pairs:
        return len(pairs)
    logical, physical = psutil.cpu_count(logical=True) or 1, psutil.cpu_count(logical=False) or 1
    return max(1, round(len(threads) * physical / logical))


def _read(thread: int, what: str) -> str:
    return _text(_SYSFS / f"cpu{thread}" / "topology" / what)


def _quota() -> int | None:
    """Whole cores that the container's quota allows, at least 1; None without a quota."""
    version_2 = _text(_cgroup_folder("") / "cpu.max").split() or _text(_CGROUP / "cpu.max").split()
    if len(version_2) == 2 and version_2[0].isdigit():
        return max(1, int(version_2[0]) // int(version_2[1]))
    quota = _cgroup_number("cpu", "", "cpu.cfs_quota_us")
    period = _cgroup_number("cpu", "", "cpu.cfs_period_us")
    return max(1, quota // period) if quota and period and quota > 0 else None


def _cgroup_number(controller: str, version_2: str, version_1: str) -> int | None:
    """A number of this process's control group, by either version's name."""
    places = [(_cgroup_folder(""), version_2), (_CGROUP, version_2)] if version_2 else []
    places += [(_cgroup_folder(controller), version_1), (_CGROUP / controller, version_1)]
    for folder, name in places:
        if (text := _text(folder / name)).lstrip("-").isdigit():
            return int(text)
    return None


def _cgroup_folder(controller: str) -> Path:
    """Where a controller's files of this process lie; the empty controller is version 2's."""
    for line in _text(Path("/proc/self/cgroup")).splitlines():
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            return _CGROUP / controller / path.lstrip("/")
    return _CGROUP / controller


def _cache_bytes(path: Path) -> int:
    match = re.fullmatch(r"(\d+)([KMG]?)", _text(path))
    return int(match[1]) * _UNITS.get(match[2], 1) if match else 0


@cache
def _cpuinfo() -> str:
    return _text(Path("/proc/cpuinfo"))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


@cache
def _sysctl(key: str) -> str:
    if platform.system() != "Darwin":
        return ""
    try:
        return subprocess.run(["sysctl", "-n", key], capture_output=True, text=True, timeout=5).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def _torch_capabilities() -> list[str]:
    """Windows tells no flags in a file; torch asks the processor itself."""
    import torch

    capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return [name for name, present in capabilities.items() if present]


def _machine() -> str:
    return platform.machine() or "unknown processor"
