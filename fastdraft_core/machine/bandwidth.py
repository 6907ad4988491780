"""Measure how fast this machine reads memory, which bounds how fast it decodes.

A buffer much larger than the last-level cache is read by a float32 matrix-vector product, which is
what decoding does with weights, and by a sum; the faster of the two counts. The figure is kept
with the machine it was measured on and is measured again when the machine was busy at the time.
"""

from __future__ import annotations

import datetime
import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import psutil

from fastdraft_core import places
from fastdraft_core.events import ModelCard, cache_bound
from fastdraft_core.files import remember, remembered
from fastdraft_core.machine.cpu import cpu_name, last_level_cache, physical_cores
from fastdraft_core.machine.limits import memory

_CACHES = 4
_MAX_BYTES = 1 << 30
_MIN_BYTES = 64 << 20
_UNKNOWN_CACHE = 64 << 20
_PASSES = 5
_COLUMNS = 1 << 14
_BUSY = 0.2
_LOAD_SECONDS = 0.2
_RUNTIMES = ("torch", "openvino")


class Bandwidth(msgspec.Struct, frozen=True, kw_only=True):
    """Peak read bandwidth of main memory in GB/s (10^9 bytes a second).

    ``busy_share`` is the share of all cores that other work used just before, from 0 to 1: above
    0.2 the figures are a lower bound. ``measured_on`` is an ISO date.
    """

    single_thread: float
    all_threads: float
    threads: int
    buffer_bytes: int
    busy_share: float
    method: str
    machine: str
    measured_on: str

    @property
    def busy(self) -> bool:
        """Whether other work disturbed the measurement."""
        return self.busy_share > _BUSY


def measured_peak_bandwidth(*, again: bool = False) -> Bandwidth:
    """The machine's peak read bandwidth, from the cache or measured now (about two seconds).

    A kept figure is used unless ``again`` asks otherwise or the machine was busy when it was
    taken; then the better of both is kept.
    """
    kept = kept_peak_bandwidth()
    if kept is not None and not again and not kept.busy:
        return kept
    fresh = _measure()
    if kept is not None and not again:
        fresh = _better(fresh, kept)
    remember(_file(), fresh)
    return fresh


def kept_peak_bandwidth() -> Bandwidth | None:
    """What was measured on this machine before, if anything."""
    kept = remembered(_file(), Bandwidth)
    return kept if kept is not None and kept.machine == machine_id() else None


def describe_rate(rate: float, target: ModelCard, draft: ModelCard | None, threads: int) -> str:
    """What ``rate`` (GB/s of weights and cache read) means here: ``61 % of the measured peak``, or that it is cache-bound.

    Empty where no peak of the memory that the models lie in was measured yet.
    """
    if cache_bound(target, draft, last_level_cache()):
        return "cache-bound: the weights fit in the last-level cache"
    if target.device != "cpu":
        found = [peak for runtime in _RUNTIMES if (peak := kept_device_peak(f"{runtime} {target.device}")) is not None]
        return f"{rate / max(found):.0%} of the measured peak" if found else ""
    kept = kept_peak_bandwidth()
    if kept is None:
        return ""
    peak = kept.single_thread if threads == 1 else kept.all_threads
    # A peak measured beside other work is too low, and the share of it too high.
    return f"{'at most ' if kept.busy else ''}{rate / peak:.0%} of the measured peak"


def kept_device_peak(device: str) -> float | None:
    """GB/s at which a device besides the CPU was measured to read here, by runtime and name, such as ``torch cuda:0``."""
    return (remembered(_devices_file(), dict[str, float]) or {}).get(f"{machine_id()} {device}")


def remember_device_peak(device: str, rate: float) -> None:
    """Keep what was measured of it."""
    kept = remembered(_devices_file(), dict[str, float]) or {}
    remember(_devices_file(), kept | {f"{machine_id()} {device}": round(rate, 2)})


def machine_id() -> str:
    """12 hex digits of what decides the bandwidth: processor, cores, memory, cache."""
    total_gib = round(memory()[0] / (1 << 30))
    facts = f"{cpu_name()}|{physical_cores()}|{total_gib}|{last_level_cache()}"
    return hashlib.sha256(facts.encode()).hexdigest()[:12]


def buffer_bytes() -> int:
    """Four times the last-level cache, at most 1 GiB and a quarter of the free memory."""
    wanted = _CACHES * (last_level_cache() or _UNKNOWN_CACHE)
    return max(_MIN_BYTES, min(wanted, _MAX_BYTES, memory()[1] // 4))


def _measure() -> Bandwidth:
    import torch

    busy = psutil.cpu_percent(_LOAD_SECONDS) / 100
    rows, threads, before = buffer_bytes() // (4 * _COLUMNS), physical_cores(), torch.get_num_threads()
    # Written, not just allocated: untouched pages are all one page of zeros.
    matrix, vector = torch.ones(rows, _COLUMNS), torch.ones(_COLUMNS)
    try:
        single = _rate(torch, matrix, vector, 1)
        every = _rate(torch, matrix, vector, threads) if threads > 1 else single
    finally:
        torch.set_num_threads(before)
    return Bandwidth(
        single_thread=round(single, 2),
        all_threads=round(max(single, every), 2),
        threads=threads,
        buffer_bytes=matrix.nbytes,
        busy_share=round(busy, 3),
        method=f"streaming read, best of {_PASSES} passes of float32 matrix-vector product and sum",
        machine=machine_id(),
        measured_on=datetime.date.today().isoformat(),
    )


def _rate(torch: Any, matrix: Any, vector: Any, threads: int) -> float:
    """GB/s of the best pass with ``threads`` threads."""
    torch.set_num_threads(threads)
    kernels = (lambda: torch.mv(matrix, vector), matrix.sum)
    return float(matrix.nbytes / min(_seconds(kernel) for kernel in kernels for _ in range(_PASSES)) / 1e9)


def _seconds(kernel: Callable[[], object]) -> float:
    begin = time.perf_counter()
    kernel()
    return time.perf_counter() - begin


def _better(fresh: Bandwidth, kept: Bandwidth) -> Bandwidth:
    """The measurement of the two that saw more; a peak can only be missed, never exceeded."""
    return fresh if not fresh.busy or fresh.all_threads >= kept.all_threads else kept


def _devices_file() -> Path:
    return places.cache() / "device-bandwidth.json"


def _file() -> Path:
    return places.cache() / "bandwidth.json"
