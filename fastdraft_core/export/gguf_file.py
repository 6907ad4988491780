"""Write a loaded model as a GGUF file: header, tokenizer, and its weights tensor by tensor, quantized by the gguf package."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gguf
import numpy as np

from fastdraft_core.engine.pair import stop_ids
from fastdraft_core.errors import FastdraftError
from fastdraft_core.export.gguf_header import Description, describe
from fastdraft_core.export.gguf_tokenizer import copied, made
from fastdraft_core.models.catalog import resolve
from fastdraft_core.models.folders import load_config, load_tokenizer, local_folder
from fastdraft_core.models.gguf.architectures import Weight
from fastdraft_core.models.gguf.header import Metadata
from fastdraft_core.models.gguf.importing import rotary_order
from fastdraft_core.models.gguf.model_file import read_model

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

_Numbers = np.ndarray[Any, np.dtype[np.float32]]
_Type = gguf.GGMLQuantizationType

#: What llama.cpp calls a file of each kind of weights.
_FILE_TYPES = {
    "f16": gguf.LlamaFileType.MOSTLY_F16,
    "q8_0": gguf.LlamaFileType.MOSTLY_Q8_0,
    "q4_0": gguf.LlamaFileType.MOSTLY_Q4_0,
    "q4_1": gguf.LlamaFileType.MOSTLY_Q4_1,
}
#: Four bits cost the most where tokens are looked up and scored, so these tables have eight, as in llama.cpp's own files.
_TABLES = ("token_embd.weight", "output.weight")
#: Added to what is looked up, so never quantized.
_PLAIN = ("position_embd.weight",)
_QUANTIZATION_VERSION = 2
_ARRAYS = {
    "b": gguf.GGUFValueType.INT8,
    "B": gguf.GGUFValueType.UINT8,
    "h": gguf.GGUFValueType.INT16,
    "H": gguf.GGUFValueType.UINT16,
    "i": gguf.GGUFValueType.INT32,
    "I": gguf.GGUFValueType.UINT32,
    "f": gguf.GGUFValueType.FLOAT32,
    "q": gguf.GGUFValueType.INT64,
    "Q": gguf.GGUFValueType.UINT64,
    "d": gguf.GGUFValueType.FLOAT64,
}


def tokenizer_metadata(name: str, rows: int, called: str, *, trust_remote_code: bool) -> Metadata:
    """The tokenizer of the model ``name``, a GGUF file or a folder, for a file of ``rows`` rows that is ``called`` so.

    Raises:
        FastdraftError: it cannot be told to llama.cpp, or has more tokens than rows.
    """
    where = Path(resolve(name))
    if where.is_file():
        return _as_wide(copied(read_model(where)), rows, name)
    folder = local_folder(name, weights=False)
    load_config(folder, name, trust_remote_code=trust_remote_code)
    tokenizer = load_tokenizer(folder, name, trust_remote_code=trust_remote_code)
    tokens = max(tokenizer.get_vocab().values()) + 1
    if tokens > rows:
        raise FastdraftError(
            f"{name} has {tokens:,} tokens and {rows:,} logits, which llama.cpp does not take. Resize its embeddings first."
        )
    return made(tokenizer, rows, stop_ids(folder, tokenizer, trust_remote_code), name, called)


def _as_wide(metadata: Metadata, rows: int, name: str) -> Metadata:
    listed = metadata.get("tokenizer.ggml.tokens")
    if not isinstance(listed, list) or len(listed) != rows:
        count = len(listed) if isinstance(listed, list) else 0
        raise FastdraftError(
            f"{name} lists {count:,} tokens and the draft scores {rows:,}. Give this file as --target, so that the draft gets "
            "its width."
        )
    return metadata


def write_gguf(
    model: PreTrainedModel,
    file: Path,
    weights: str,
    tokenizer: Metadata,
    name: str,
    called: str,
    report: Callable[[str], None],
) -> None:
    """Write ``model`` with the metadata of its ``tokenizer`` to ``file``; ``weights`` is ``f16``, ``q8_0``, ``q4_0`` or ``q4_1``.

    Raises:
        FastdraftError: llama.cpp knows no such model.
    """
    described = describe(model, name)
    writer = gguf.GGUFWriter(file, described.architecture)
    _add_metadata(writer, described, weights, tokenizer, called)
    types = {weight.source: _type_of(weight, weights) for weight in described.weights}
    for weight in described.weights:
        kind = types[weight.source]
        block, size = gguf.GGML_QUANT_SIZES[kind]
        num_bytes = prod(weight.shape) // block * size
        writer.add_tensor_info(weight.source, weight.shape, np.dtype(np.float32), num_bytes, raw_dtype=kind)
    for key, factors in described.factors.items():
        writer.add_tensor_info(key, (len(factors),), np.dtype(np.float32), 4 * len(factors))
    try:
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        parameters = dict(model.named_parameters())
        report(f"writing {file.name}")
        for weight in described.weights:
            writer.write_tensor_data(gguf.quantize(_stored(parameters[weight.name], weight), types[weight.source]))
        for factors in described.factors.values():
            writer.write_tensor_data(np.array(factors, dtype=np.float32))
    finally:
        writer.close()


def _add_metadata(
    writer: gguf.GGUFWriter, described: Description, weights: str, tokenizer: Metadata, called: str
) -> None:
    told: Metadata = {
        **described.metadata,
        "general.type": "model",
        "general.name": called,
        "general.file_type": int(_FILE_TYPES[weights]),
        "general.quantization_version": _QUANTIZATION_VERSION,
        **tokenizer,
    }
    # The writer tells the architecture by itself.
    del told["general.architecture"]
    for key, value in told.items():
        if isinstance(value, bool):
            writer.add_bool(key, value)
        elif isinstance(value, str):
            writer.add_string(key, value)
        elif isinstance(value, int):
            writer.add_uint32(key, value)
        elif isinstance(value, float):
            writer.add_float32(key, value)
        elif isinstance(value, list):
            writer.add_array(key, value)
        else:
            writer.add_key_value(key, value.tolist(), gguf.GGUFValueType.ARRAY, _ARRAYS[value.typecode])


def _type_of(weight: Weight, weights: str) -> _Type:
    """How a tensor is stored: vectors as they are, matrices as asked for where their rows have whole blocks."""
    if len(weight.shape) == 1 or weight.source in _PLAIN:
        return _Type.F32
    kind = gguf.GGMLQuantizationType[weights.upper()]
    if weights.startswith("q4") and weight.source in _TABLES:
        kind = _Type.Q8_0
    return kind if weight.shape[-1] % gguf.GGML_QUANT_SIZES[kind][0] == 0 else _Type.F16


def _stored(parameter: torch.nn.Parameter, weight: Weight) -> _Numbers:
    """The numbers as llama.cpp has them: what the import undoes."""
    numbers: _Numbers = parameter.detach().float().cpu().numpy()
    match weight.change:
        case "rotary":
            stored = np.empty_like(numbers)
            stored[rotary_order(numbers.shape[0], weight.heads)] = numbers
            return stored
        case "minus one":
            return numbers + 1
        case "transposed":
            return np.ascontiguousarray(numbers.T)
    return np.ascontiguousarray(numbers)
