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

from fastdraft_core.machine.limits import cpu_quota, file_text, memory

_SYSFS = Path("/sys/devices/system/cpu")
_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


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
    return max(1, min(len(_affinity()), cpu_quota() or 1 << 16))


def physical_cores() -> int:
    """Cores behind those hardware threads, at least 1: two threads of one core count once."""
    return max(1, min(_cores_behind(_affinity()), cpu_quota() or 1 << 16))


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
    apple = [int(told) for key in ("hw.l3cachesize", "hw.perflevel0.l2cachesize") if (told := _sysctl(key)).isdigit()]
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
    return file_text(_SYSFS / f"cpu{thread}" / "topology" / what)


def _cache_bytes(path: Path) -> int:
    match = re.fullmatch(r"(\d+)([KMG]?)", file_text(path))
    return int(match[1]) * _UNITS.get(match[2], 1) if match else 0


@cache
def _cpuinfo() -> str:
    return file_text(Path("/proc/cpuinfo"))


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
