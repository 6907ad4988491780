"""What a model folder holds: safetensors or an OpenVINO IR, by its files; and how many parameters, by their headers alone."""

from __future__ import annotations

import re
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import Any

import msgspec

from fastdraft_core.models.packing import Packing, packing_of

#: Of a checkpoint: what its training goes on from. Its tensors are no weights of the model.
TRAINER = "trainer.safetensors"
#: The weights of a model in one file, and the list of files where they are in several.
SOURCE_FILE, INDEX_FILE = "model.safetensors", "model.safetensors.index.json"
#: Files of weights that are not the model's own: another form of them, an adapter, a training's state.
_OTHER_FORM = re.compile(rf"consolidated|adapter_model|{re.escape(TRAINER)}$")
#: The graph of an IR; its weights lie beside it.
MODEL_FILE = "openvino_model.xml"
_LARGEST_HEADER = 64 << 20
_LARGEST_GRAPH = 256 << 20
#: A constant of the graph as OpenVINO writes it: type, shape, and where its bytes lie in the .bin file.
_CONSTANT = re.compile(rb'<data element_type="(\w+)" shape="([\d, ]*)" offset="(\d+)" size="(\d+)"')
#: Types that weights are stored in; indices and shapes are i64 or i32, masks boolean.
_WEIGHT_TYPES = frozenset({b"f32", b"f16", b"bf16", b"u8", b"i8", b"u4", b"i4", b"nf4"})


def is_ir(folder: Path) -> bool:
    """Whether ``folder`` holds a converted model."""
    return (folder / MODEL_FILE).is_file() and (folder / MODEL_FILE).with_suffix(".bin").is_file()


def has_source(folder: Path) -> bool:
    """Whether ``folder`` holds weights that PyTorch runs, and that can be converted."""
    return any(folder.glob("*.safetensors"))


def is_ir_alone(folder: Path) -> bool:
    """Whether a converted model is all that ``folder`` holds: only OpenVINO runs it, and nothing is made of it."""
    return is_ir(folder) and not has_source(folder)


def weight_files(folder: Path) -> list[Path]:
    """The files that hold the weights of the model in ``folder``, each weight once, as transformers chooses them.

    A whole file goes before the parts that an index names, and both before any other file: beside them may lie the same
    weights in another form (``consolidated.safetensors``), an adapter, or what a training goes on from.
    """
    whole = folder / SOURCE_FILE
    if whole.is_file():
        return [whole]
    named = _named_in(folder / INDEX_FILE, *stamp(folder / INDEX_FILE))
    there = [file for file in sorted(folder.glob("*.safetensors")) if not _OTHER_FORM.match(file.name)]
    return [file for file in there if file.name in named] or there


@lru_cache(maxsize=512)
def _named_in(index: Path, size: int, changed: int) -> frozenset[str]:
    """The names of files in an index of shards; none where there is no index, or it is damaged."""
    del changed
    try:
        listed: dict[str, Any] = msgspec.json.decode(index.read_bytes()) if size else {}
        return frozenset(listed["weight_map"].values())
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, LookupError, TypeError, AttributeError):
        return frozenset()


def count_parameters(folder: Path) -> int | None:
    """Weights of the model in ``folder``, packed ones too; None where there are none, or a file is damaged."""
    files, packing = weight_files(folder), packing_of(folder)
    counts = [_in_safetensors(file, packing, *stamp(file)) for file in files]
    if not files:
        counts = [_in_graph(folder / MODEL_FILE, *stamp(folder / MODEL_FILE))]
    return sum(counts) or None if all(number >= 0 for number in counts) else None


def stamp(path: Path) -> tuple[int, int]:
    """Size and time of change of a file, zeros where there is none: what says that it is another one."""
    try:
        status = path.stat()
    except OSError:
        return 0, 0
    return status.st_size, status.st_mtime_ns


@lru_cache(maxsize=512)
def _in_safetensors(file: Path, packing: Packing | None, size: int, changed: int) -> int:
    del size, changed
    try:
        with file.open("rb") as opened:
            length = int.from_bytes(opened.read(8), "little")
            if not 0 < length <= _LARGEST_HEADER:
                return -1
            header: dict[str, Any] = msgspec.json.decode(opened.read(length))
        tensors = [(name, entry) for name, entry in header.items() if name != "__metadata__"]
        if packing is not None:
            return sum(packing.count(name, entry["dtype"], entry["shape"]) for name, entry in tensors)
        return sum(prod(entry["shape"]) for _, entry in tensors)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, KeyError, TypeError, AttributeError):
        return -1


@lru_cache(maxsize=512)
def _in_graph(file: Path, size: int, changed: int) -> int:
    """Weights in an IR's graph; one that is used twice, such as a tied embedding, has one place and counts once."""
    del changed
    if not 0 < size <= _LARGEST_GRAPH:
        return -1
    try:
        graph = file.read_bytes()
    except OSError:
        return -1
    counts: dict[bytes, int] = {}
    for kind, shape, offset, _ in _CONSTANT.findall(graph):
        lengths = [int(length) for length in shape.split(b",") if length.strip()]
        # Scales and zero points have a last dimension of one; a lone number is no weight either.
        if kind in _WEIGHT_TYPES and lengths and lengths[-1] > 1:
            counts[offset] = prod(lengths)
    return sum(counts.values())
