"""Checkpoints whose weights are packed already (GPTQ, AWQ, fp8, bitsandbytes and others): which library reads them, and how many there are.

Read from config.json and the headers alone; no model library is needed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from math import prod
from pathlib import Path

import msgspec

from fastdraft_core.errors import FastdraftError

#: The library that transformers unpacks with, by its word for the method; empty where transformers does it itself.
_LIBRARIES = {
    "gptq": "gptqmodel",
    "awq": "gptqmodel",
    "bitsandbytes": "bitsandbytes",
    "compressed-tensors": "compressed_tensors",
    "torchao": "torchao",
    "hqq": "hqq",
    "aqlm": "aqlm",
    "quanto": "optimum.quanto",
    # Its kernels are imported even where the weights are only unpacked.
    "fp8": "triton",
    "mxfp4": "",
}
#: Methods whose weights become bfloat16 in memory where there is no accelerator for them.
_UNPACKED_ON_CPU = ("fp8", "mxfp4")
_TITLES = {"gptq": "GPTQ", "awq": "AWQ", "fp8": "FP8", "mxfp4": "MXFP4"}
#: Tensors beside packed weights that are none themselves.
_NO_WEIGHTS = re.compile(
    r"(qzeros|scales|g_idx|absmax|quant_map|SCB|weight_format|weight_scale|weight_scale_inv|weight_shape|weight_zero_point"
    r"|weight_g_idx|input_scale|activation_scale)$|quant_state"
)
#: Whole numbers that hold several weights each: the name of the tensor, and the bits of a number by its dtype.
_PACKED = re.compile(r"(qweight|weight_packed|_blocks|\.weight)$")
_BITS = {"I32": 32, "U32": 32, "I16": 16, "U8": 8, "I8": 8}


class _Quantization(msgspec.Struct):
    """What config.json says of packed weights."""

    quant_method: str = ""
    bits: int | None = None
    w_bit: int | None = None
    load_in_4bit: bool = False
    config_groups: dict[str, dict[str, object]] | None = None


class _Config(msgspec.Struct):
    quantization_config: _Quantization | None = None


@dataclass(frozen=True, slots=True)
class Packing:
    """How the weights of a checkpoint are packed: transformers' word for it, and the bits of a packed weight."""

    method: str
    bits: int

    @property
    def title(self) -> str:
        """The method as people write it."""
        return _TITLES.get(self.method, self.method)

    @property
    def unpacked_on_cpu(self) -> bool:
        """Whether the weights take 16 bits in a CPU's memory."""
        return self.method in _UNPACKED_ON_CPU

    def count(self, name: str, dtype: str, shape: list[int]) -> int:
        """Weights in the tensor ``name`` of a safetensors file: those that its numbers hold, and none in scales."""
        if _NO_WEIGHTS.search(name):
            return 0
        size = prod(shape)
        stored = _BITS.get(dtype, 0)
        return size * stored // self.bits if stored > self.bits and _PACKED.search(name) else size


def packing_of(folder: Path) -> Packing | None:
    """How the weights in ``folder`` are packed; None where they are plain, or config.json cannot be read."""
    file = folder / "config.json"
    try:
        status = file.stat()
    except OSError:
        return None
    return _read(file, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=512)
def _read(file: Path, size: int, changed: int) -> Packing | None:
    del size, changed
    try:
        found = msgspec.json.decode(file.read_bytes(), type=_Config).quantization_config
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None
    if found is None or not found.quant_method:
        return None
    bits = found.bits or found.w_bit or _group_bits(found.config_groups)
    if not bits:
        eight = found.quant_method == "fp8" or (found.quant_method == "bitsandbytes" and not found.load_in_4bit)
        bits = 8 if eight else 4
    return Packing(found.quant_method, bits)


def _group_bits(groups: dict[str, dict[str, object]] | None) -> int:
    for group in (groups or {}).values():
        weights = group.get("weights")
        if isinstance(weights, dict) and isinstance(bits := weights.get("num_bits"), int):
            return bits
    return 0


def refuse_packed(folder: Path, name: str) -> None:
    """Refuse packed weights that no installed library reads.

    Raises:
        FastdraftError: there is none for the method of ``name``; the message says which, and the way without it.
    """
    packing = packing_of(folder)
    if packing is None:
        return
    library = _LIBRARIES.get(packing.method)
    way = "or take the model with weights in bf16 and let fastdraft pack those: --weights int4 or int8"
    if library is None:
        raise FastdraftError(
            f"{name} holds weights packed by {packing.title}, which nothing here reads. Use another form of it, {way}."
        )
    # Of a package inside another one the outer one must be there to be asked.
    if library and not (find_spec(library.partition(".")[0]) and find_spec(library)):
        install = library.replace("_", "-").replace(".", "-")
        raise FastdraftError(
            f"{name} holds weights packed by {packing.title}, which transformers reads with {install}. Run "
            f"`pip install {install}`, {way}."
        )
