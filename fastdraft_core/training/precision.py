"""In which number format a device trains, and which attention suits it."""

from __future__ import annotations

import torch

from fastdraft_core.machine.devices import choose_dtype


def training_dtype(device: str) -> torch.dtype:
    """The format of matrix products: bfloat16 where it is native, else float32. Weights are float32 always.

    Emulated bfloat16 is several times slower, and float16 would need its gradients scaled.
    """
    return torch.bfloat16 if choose_dtype(device) == "bfloat16" else torch.float32


def mixed_precision(device: torch.device) -> torch.autocast:
    """Autocast to the device's ``training_dtype``; off where that is float32."""
    dtype = training_dtype(device.type)
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=dtype == torch.bfloat16)


def training_attention(device: torch.device, *, compiled: bool) -> str:
    """transformers' attention for training on ``device``.

    Plain attention where a CPU with native bfloat16 compiles it: its products then run as bfloat16 matrix products.
    In float32 both were equally fast when measured, and fused attention keeps no scores.
    """
    plain = compiled and device.type == "cpu" and training_dtype("cpu") == torch.bfloat16
    return "eager" if plain else "sdpa"
