"""Measure how fast a device other than the CPU reads the memory that weights lie in: CUDA, XPU, and OpenVINO's GPUs.

As on the CPU (``machine/bandwidth.py``), a matrix far larger than any cache is read by what decoding does with weights, a product with
a vector, and the best of some passes counts. Run on CPUs alone so far; no such device was here.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from fastdraft_core.machine.bandwidth import kept_device_peak, remember_device_peak
from fastdraft_core.machine.devices import synchronize

_BYTES = 256 << 20
_COLUMNS = 1 << 12
_PASSES = 8
#: Bytes of a number of 16 bits.
_WIDTH = 2


def device_peak(runtime: str, device: str, *, num_bytes: int = _BYTES) -> float:
    """Peak GB/s (10^9 bytes a second) at which ``runtime`` reads on ``device``: kept, or measured in about a second."""
    key = f"{runtime} {device}"
    kept = kept_device_peak(key)
    if kept is not None:
        return kept
    rows = num_bytes // (_COLUMNS * _WIDTH)
    kernels = _openvino_kernels(device, rows) if runtime == "openvino" else _torch_kernels(device, rows)
    size = rows * _COLUMNS * _WIDTH
    found = size / min(_seconds(kernel) for kernel in kernels for _ in range(_PASSES)) / 1e9
    remember_device_peak(key, found)
    return found


def _torch_kernels(device: str, rows: int) -> list[Callable[[], object]]:
    place = torch.device(device)
    matrix = torch.ones(rows, _COLUMNS, dtype=torch.bfloat16, device=place)
    vector = torch.ones(_COLUMNS, dtype=torch.bfloat16, device=place)

    def product() -> None:
        torch.mv(matrix, vector)
        synchronize(place)

    def total() -> None:
        matrix.sum()
        synchronize(place)

    return [product, total]


def _openvino_kernels(device: str, rows: int) -> list[Callable[[], object]]:
    import numpy as np
    import openvino as ov
    from openvino import opset13 as ops

    vector = ops.parameter([1, _COLUMNS], np.float16)
    # No plugin may fold it, and no two rows are the same.
    matrix = np.random.default_rng(0).random((rows, _COLUMNS), dtype=np.float32).astype(np.float16)
    product = ops.matmul(vector, ops.constant(matrix), False, True)
    compiled = ov.Core().compile_model(ov.Model([product], [vector]), device.upper(), {"PERFORMANCE_HINT": "LATENCY"})
    request = compiled.create_infer_request()
    request.set_input_tensor(ov.Tensor(np.ones((1, _COLUMNS), dtype=np.float16)))

    def read() -> None:
        request.start_async()
        request.wait()

    return [read]


def _seconds(kernel: Callable[[], object]) -> float:
    begin = time.perf_counter()
    kernel()
    return time.perf_counter() - begin
