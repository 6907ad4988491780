"""Import a GGUF model: a Hugging Face folder of bf16 weights in the cache, kept by the hash of the file.

Weights are de-quantized a few rows at a time and go straight to disk, so a model of any size takes little memory.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import gguf
import numpy as np
import torch

from fastdraft_core import places
from fastdraft_core.errors import FastdraftError, short_error
from fastdraft_core.files import building
from fastdraft_core.models.file_hashes import file_hash, is_blob, known_hash
from fastdraft_core.models.gguf.architectures import Config, Weight, configuration, weights_of
from fastdraft_core.models.gguf.header import TensorInfo
from fastdraft_core.models.gguf.model_file import GgufModel, read_model
from fastdraft_core.models.gguf.rope import read_factors
from fastdraft_core.models.gguf.tokenizer import build_tokenizer
from fastdraft_core.models.gguf.vocabulary import read_vocabulary

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedTokenizerFast

Report = Callable[[str], None]

#: Part of every key: an older import is not used any more when this grows.
_FORMAT = 1
#: Bytes of one file of weights, and of the float32 numbers that are in memory at a time.
_SHARD_BYTES, _CHUNK_BYTES = 4 << 30, 16 << 20
_BFLOAT16_BYTES = 2


def import_model(file: Path, name: str, report: Report, *, weights: bool = True) -> Path:
    """The folder of the model in ``file``: imported now, or found in the cache. ``report`` hears of each step.

    Without ``weights`` only its configuration and tokenizer are imported, which takes a moment.

    Raises:
        FastdraftError: the file is damaged, or holds something that cannot be imported, or the disk is too small.
    """
    model = read_model(file)
    output = folder_of(model, name, report)
    if not weights and not output.is_dir():
        output = output.with_name(f"{output.name}-config")
    if output.is_dir():
        return output
    try:
        conversion = _Conversion.of(model, name)
        with building(output, needed=conversion.num_bytes if weights else 0) as folder:
            conversion.write(folder, report, weights=weights)
    except FastdraftError:
        # Another process may have been first.
        if not output.is_dir():
            raise
    return output


def convert(file: Path, folder: Path, name: str, report: Report) -> None:
    """Write the model in ``file`` into ``folder``, which exists and whose disk has room. ``report`` hears of each step.

    Raises:
        FastdraftError: the file is damaged, or holds something that cannot be imported.
        OSError: the disk cannot be written.
    """
    _Conversion.of(read_model(file), name).write(folder, report, weights=True)


def folder_of(model: GgufModel, name: str, report: Report = lambda step: None) -> Path:
    """Where ``model`` is, or will be, imported to; its files are read for their hashes, once."""
    if not all(known_hash(file) for file in model.files):
        report(f"reading {name}")
    digest = hashlib.sha256(str(_FORMAT).encode())
    for file in model.files:
        digest.update(file_hash(file).encode())
    # A blob of Ollama is named by its hash alone.
    called = model.text("general.name", "model") if is_blob(model.file) else model.file.stem
    short = re.sub(r"[^A-Za-z0-9.]+", "-", called).strip("-.")[-40:]
    return places.cache() / "gguf" / f"{short}-{digest.hexdigest()[:16]}"


@dataclass(frozen=True, slots=True)
class _Conversion:
    """A model that can be imported: all that could be refused was looked at before anything is written."""

    model: GgufModel
    name: str
    weights: list[Weight]
    config: PreTrainedConfig
    tokenizer: PreTrainedTokenizerFast

    @classmethod
    def of(cls, model: GgufModel, name: str) -> _Conversion:
        wanted = weights_of(model)
        config = _configuration(model)
        tokenizer = build_tokenizer(model)
        _refuse_wide(model, len(tokenizer), config.get_text_config().vocab_size)
        for weight in wanted:
            _refuse_unreadable(model.tensors[weight.source])
        return cls(model, name, wanted, config, tokenizer)

    @property
    def num_bytes(self) -> int:
        return sum(map(_num_bytes, self.weights))

    def write(self, folder: Path, report: Report, *, weights: bool) -> None:
        _write_small(self.model, folder, self.config, self.tokenizer)
        if weights:
            _write_weights(self.model, self.weights, folder, self.name, report)


def _configuration(model: GgufModel) -> PreTrainedConfig:
    from transformers import AutoConfig

    vocabulary = read_vocabulary(model)
    values: Config = configuration(model, read_factors(model))
    values |= {"bos_token_id": vocabulary.beginning, "eos_token_id": vocabulary.end}
    try:
        return AutoConfig.for_model(str(values.pop("model_type")), **values)
    # transformers checks what it is given, each architecture in its own way.
    except Exception as error:
        raise FastdraftError(f"{model.file} has a header that transformers refuses ({short_error(error)}).") from error


def _refuse_wide(model: GgufModel, tokens: int, rows: int) -> None:
    if tokens > rows:
        raise FastdraftError(
            f"{model.file} has {tokens:,} tokens and embeddings for {rows:,}. Use another file of the model."
        )


def _refuse_unreadable(tensor: TensorInfo) -> None:
    try:
        one = np.zeros(tensor.type.size, dtype=np.uint8)
        gguf.dequantize(one, gguf.GGMLQuantizationType(tensor.number))
    except (NotImplementedError, ValueError) as error:
        raise FastdraftError(
            f"{tensor.file} stores {tensor.name!r} as {tensor.type.name}, which the gguf package cannot turn into numbers. "
            "Use a file of the same model in another quantization, such as Q4_K_M or Q8_0."
        ) from error


def _write_small(model: GgufModel, folder: Path, config: PreTrainedConfig, tokenizer: PreTrainedTokenizerFast) -> None:
    vocabulary = read_vocabulary(model)
    config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    generation = {"bos_token_id": vocabulary.beginning, "eos_token_id": list(vocabulary.ends) or None}
    told = {name: value for name, value in generation.items() if value is not None}
    (folder / "generation_config.json").write_text(json.dumps(told, indent=2), encoding="utf-8")


# --- weights -----------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Progress:
    """Says at every twentieth how much is done."""

    name: str
    total: int
    report: Report
    done: int = 0
    told: int = -1

    def add(self, size: int) -> None:
        self.done += size
        if (percent := 20 * self.done // max(self.total, 1) * 5) > self.told:
            self.told = percent
            self.report(f"importing {self.name}: {percent} % of {self.total / 1e9:.2f} GB")


def _write_weights(model: GgufModel, weights: list[Weight], folder: Path, name: str, report: Report) -> None:
    shards = _sharded(weights)
    progress = _Progress(name, sum(map(_num_bytes, weights)), report)
    progress.add(0)
    places_of: dict[str, str] = {}
    for number, shard in enumerate(shards, 1):
        file = "model.safetensors" if len(shards) == 1 else f"model-{number:05}-of-{len(shards):05}.safetensors"
        with (folder / file).open("wb") as opened:
            opened.write(_safetensors_header(shard))
            for weight in shard:
                _write_tensor(model.tensors[weight.source], weight, opened, progress)
        places_of |= dict.fromkeys((weight.name for weight in shard), file)
    if len(shards) > 1:
        index = {"metadata": {"total_size": progress.total}, "weight_map": places_of}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2), encoding="utf-8")


def _sharded(weights: list[Weight]) -> list[list[Weight]]:
    """The weights file by file, in their order."""
    shards: list[list[Weight]] = [[]]
    size = 0
    for weight in weights:
        if shards[-1] and size + _num_bytes(weight) > _SHARD_BYTES:
            shards.append([])
            size = 0
        shards[-1].append(weight)
        size += _num_bytes(weight)
    return shards


def _num_bytes(weight: Weight) -> int:
    return prod(weight.shape) * _BFLOAT16_BYTES


def _safetensors_header(weights: list[Weight]) -> bytes:
    """Length, names, shapes and places: what stands before the numbers in the file format safetensors."""
    entries: dict[str, object] = {"__metadata__": {"format": "pt"}}
    begin = 0
    for weight in weights:
        end = begin + _num_bytes(weight)
        entries[weight.name] = {"dtype": "BF16", "shape": list(weight.final_shape), "data_offsets": [begin, end]}
        begin = end
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _write_tensor(tensor: TensorInfo, weight: Weight, opened: BinaryIO, progress: _Progress) -> None:
    for chunk in _chunks(tensor, weight):
        content = torch.from_numpy(chunk).to(torch.bfloat16).view(torch.int16).numpy()
        opened.write(content.tobytes())
        progress.add(content.nbytes)


def _chunks(tensor: TensorInfo, weight: Weight) -> Iterator[np.ndarray[Any, np.dtype[np.float32]]]:
    """The numbers of ``tensor`` in the order in which ``weight`` has them, float32, a few rows at a time."""
    columns = tensor.shape[-1]
    rows = tensor.size // columns
    row_bytes = columns // tensor.type.block * tensor.type.size
    stored = np.memmap(tensor.file, dtype=np.uint8, mode="r", offset=tensor.start, shape=(rows, row_bytes))
    kind = gguf.GGMLQuantizationType(tensor.number)
    if weight.change == "transposed":
        yield np.ascontiguousarray(_numbers(stored, kind).reshape(rows, columns).T)
        return
    if len(tensor.shape) == 1:
        numbers = _numbers(stored, kind)
        if weight.change == "rotary":
            numbers = numbers[rotary_order(columns, weight.heads)]
        yield numbers - 1 if weight.change == "minus one" else numbers
        return
    order = rotary_order(rows, weight.heads) if weight.change == "rotary" else None
    step = max(1, _CHUNK_BYTES // (4 * columns))
    for begin in range(0, rows, step):
        part = stored[order[begin : begin + step]] if order is not None else stored[begin : begin + step]
        yield _numbers(part, kind)


def _numbers(
    stored: np.ndarray[Any, np.dtype[np.uint8]], kind: gguf.GGMLQuantizationType
) -> np.ndarray[Any, np.dtype[np.float32]]:
    """All weights in ``stored`` one after the other. As one row, since the package goes through rows by sixteens."""
    return np.array(gguf.dequantize(np.ascontiguousarray(stored).reshape(1, -1), kind), dtype=np.float32).reshape(-1)


def rotary_order(rows: int, heads: int) -> np.ndarray[Any, np.dtype[np.intp]]:
    """Which stored row each row of a rotary weight is: pairs that llama.cpp rotates lie side by side, in transformers half a head apart."""
    return np.arange(rows).reshape(heads, rows // heads // 2, 2).swapaxes(1, 2).reshape(-1)
