"""Weights in 8 and 4 bits on PyTorch's CPU kernels: each token reads a half or a quarter of the bytes of bfloat16.

The kernels are torch's own. torchao 0.18 was looked at with torch 2.13: on a CPU its int8 weights are turned back into bfloat16 in every
pass (SmolLM2-135M: 433 against 212 ms a token in bfloat16, one core), and its int4 needs a library for CUDA. Of a 4096 x 4096 product
on one core of a Xeon, bfloat16 took 5.8 ms for one token and 27 for five, int8 here 2.9 and 14, int4 4.0 and 14.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from fastdraft_core.errors import FastdraftError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

#: What ``--weights`` may say on this runtime, and the bytes that a weight takes then, scales counted.
WEIGHTS = {"int8": 1.0, "int4": 0.5625}
#: Weights that share a scale and an offset in int4, and what the kernels ask of a matrix.
_GROUP, _ROWS, _COLUMNS = 64, 64, 64
_INNER_K_TILES = 2
_LEVELS = 15


def check_weights_format(weights: str, device: str) -> None:
    """Refuse what these kernels cannot do.

    Raises:
        FastdraftError: there is no such format, or the model does not run on the CPU.
    """
    if weights in ("", "original"):
        return
    if weights not in WEIGHTS:
        raise FastdraftError(
            f"PyTorch has no weights {weights!r}; use {', '.join(WEIGHTS)} or original, or --runtime openvino for other formats."
        )
    if device != "cpu":
        raise FastdraftError(f"PyTorch has {weights} weights on the CPU alone; leave --weights out on {device}.")


class Int8Linear(nn.Module):
    """A linear layer with int8 weights ``[out, in]`` and one scale a row."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        rows = linear.weight.detach().float()
        scales = rows.abs().amax(1).clamp(min=1e-12) / 127
        self.register_buffer("weight", (rows / scales[:, None]).round().clamp(-127, 127).to(torch.int8))
        self.register_buffer("scales", scales.to(linear.weight.dtype))
        self.bias = linear.bias

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """``[..., in]`` to ``[..., out]``."""
        flat = states.reshape(-1, self.in_features)
        return _with_bias(torch._weight_int8pack_mm(flat, self.weight, self.scales), self.bias, states)


class Int4Linear(nn.Module):
    """A linear layer with int4 weights, of which 64 neighbours in a row share a scale and an offset."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        groups = linear.weight.detach().float().unflatten(1, (-1, _GROUP))
        low = groups.amin(-1)
        scales = ((groups.amax(-1) - low) / _LEVELS).clamp(min=1e-12)
        levels = ((groups - low[..., None]) / scales[..., None]).round().clamp(0, _LEVELS).to(torch.int32).flatten(1)
        self.register_buffer("weight", torch.ops.aten._convert_weight_to_int4pack_for_cpu(levels, _INNER_K_TILES))
        # The kernel counts levels from their middle.
        offsets = low + scales * ((_LEVELS + 1) // 2)
        together = torch.stack([scales, offsets], -1).transpose(0, 1).contiguous()
        self.register_buffer("scales", together.to(linear.weight.dtype))
        self.bias = linear.bias

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """``[..., in]`` to ``[..., out]``."""
        flat = states.reshape(-1, self.in_features)
        product = torch.ops.aten._weight_int4pack_mm_for_cpu(flat, self.weight, _GROUP, self.scales)
        return _with_bias(product, self.bias, states)


def pack(model: PreTrainedModel, weights: str) -> None:
    """Replace the linear layers of ``model`` by packed ones, one after the other, so that memory holds few of them twice.

    The head stays at 8 bits where ``weights`` is int4, since it alone chooses the token; a table that is tied to it keeps its rows, of
    which a token reads one. Layers whose shape the kernels do not take stay as they are.

    Raises:
        FastdraftError: there is no linear layer, so nothing would be saved.
    """
    head = model.get_output_embeddings()
    packed = 0
    for parent in list(model.modules()):
        for name, layer in list(parent.named_children()):
            if type(layer) is nn.Linear and layer.in_features % _COLUMNS == 0 and layer.out_features % _ROWS == 0:
                four = weights == "int4" and layer is not head
                setattr(parent, name, Int4Linear(layer) if four else Int8Linear(layer))
                packed += 1
    if not packed:
        raise FastdraftError(
            f"{model.config.model_type} has no linear layer that PyTorch packs into {weights}; leave --weights out, or use "
            "--runtime openvino."
        )


def head_rows(head: nn.Module, rows: torch.Tensor) -> torch.Tensor:
    """The ``rows`` of a head's weights as numbers that a plain layer takes."""
    taken: torch.Tensor = head.weight.detach()[rows]  # type: ignore[index, operator]
    return taken.to(head.scales.dtype) * head.scales[rows, None] if isinstance(head, Int8Linear) else taken


def count_weights(model: nn.Module) -> int:
    """The weights of ``model``; a packed one counts as one, and scales are none."""
    return sum(p.numel() for p in model.parameters()) + sum(
        layer.in_features * layer.out_features for layer in _packed(model)
    )


def weight_bytes(model: nn.Module) -> int:
    """Bytes of all weights of ``model`` with their scales."""
    buffers = (b for layer in _packed(model) for b in layer.buffers(recurse=False))
    return sum(t.numel() * t.element_size() for t in (*model.parameters(), *buffers))


def packed_dtype(model: nn.Module) -> str:
    """``int8`` or ``int4`` where layers are packed so, else empty."""
    kinds = {type(layer) for layer in _packed(model)}
    return "int4" if Int4Linear in kinds else "int8" if kinds else ""


def _packed(model: nn.Module) -> list[Int8Linear | Int4Linear]:
    return [layer for layer in model.modules() if isinstance(layer, Int8Linear | Int4Linear)]


def _with_bias(product: torch.Tensor, bias: torch.Tensor | None, states: torch.Tensor) -> torch.Tensor:
    whole = product if bias is None else product + bias
    return whole.reshape(*states.shape[:-1], -1)
