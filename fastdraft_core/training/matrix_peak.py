"""Measure how fast a device multiplies matrices in the format it trains in; utilisation is a share of this.

The figure is kept with the machine, the device and the number of threads. Other work beside a
measurement can only lower it, so it is measured again where the machine was busy, and the best is kept.
"""

from __future__ import annotations

import time
from pathlib import Path

import msgspec
import psutil
import torch

from fastdraft_core import places
from fastdraft_core.files import remember, remembered
from fastdraft_core.machine.bandwidth import machine_id
from fastdraft_core.machine.devices import synchronize
from fastdraft_core.training.processes import training_dtype

_SIZES = (512, 1024, 2048, 4096, 8192)
_LONG_ENOUGH = 0.02
_PASSES = 5
_BUSY = 0.2
_LOAD_SECONDS = 0.1


class MatrixPeak(msgspec.Struct, frozen=True):
    """FLOP/s of the best square matrix product; ``busy`` when other work took part of the machine."""

    flops: float
    busy: bool


def matrix_peak(device: torch.device) -> float:
    """Measured peak FLOP/s of one process on ``device`` in its training format; kept, or measured in under a second."""
    kept = remembered(_file(), dict[str, MatrixPeak]) or {}
    key = f"{machine_id()} {device.type} {training_dtype(device.type)} {torch.get_num_threads()} threads"
    if key not in kept or kept[key].busy:
        fresh = _measure(device)
        # A busy machine hides some of the peak and never adds to it.
        kept[key] = fresh if key not in kept or fresh.flops > kept[key].flops else kept[key]
        remember(_file(), kept)
    return kept[key].flops


@torch.no_grad()
def _measure(device: torch.device) -> MatrixPeak:
    busy = device.type == "cpu" and psutil.cpu_percent(_LOAD_SECONDS) / 100 > _BUSY
    dtype, best = training_dtype(device.type), 0.0
    for size in _SIZES:
        matrix = torch.randn(size, size, device=device, dtype=dtype)
        seconds = min(_seconds(matrix) for _ in range(_PASSES))
        best = max(best, 2 * size**3 / seconds)
        if seconds > _LONG_ENOUGH:
            break
    return MatrixPeak(best, busy)


def _seconds(matrix: torch.Tensor) -> float:
    synchronize(matrix.device)
    begin = time.perf_counter()
    matrix @ matrix
    synchronize(matrix.device)
    return time.perf_counter() - begin


def _file() -> Path:
    return places.cache() / "matrix-peak.json"
