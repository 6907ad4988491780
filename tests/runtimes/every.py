"""A small model on every runtime, so that one test holds for all of them."""

from __future__ import annotations

import copy
import hashlib
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from fastdraft_core.errors import FastdraftError
from fastdraft_core.runtimes.base import Runtime
from fastdraft_core.runtimes.openvino.conversion import WeightFormat, write_ir
from fastdraft_core.runtimes.openvino.loading import OpenVinoOptions, load_ir
from fastdraft_core.runtimes.torch.runtime import TorchRuntime

#: ``openvino`` keeps keys and values in pages of ours where the model allows it, ``stateful`` inside the model.
RUNTIMES = ["torch", "openvino", "stateful"]
EXACT = OpenVinoOptions(dtype="float32", kv_precision="f32", threads=1)

_folders: dict[str, Path] = {}


def on(
    runtime: str, model: Any, name: str = "model", vocab_size: int = 0, head_ids: Sequence[int] | None = None
) -> Runtime:
    """``model`` (transformers, float32) on a runtime of that name; skips what cannot be converted."""
    vocab_size = vocab_size or model.config.vocab_size
    if runtime == "torch":
        # A short head replaces the model's own.
        return TorchRuntime(model if head_ids is None else copy.deepcopy(model), name, vocab_size, head_ids)
    return load_ir(ir_folder(model), name, vocab_size, EXACT, paged=runtime == "openvino", head_ids=head_ids)


def ir_folder(model: Any, weights: str = "original") -> Path:
    """The IR of a model in memory with a weight format, made once in a test run."""
    key = f"{_key(model)}-{weights}"
    if key not in _folders:
        folder = _scratch() / key
        folder.mkdir(exist_ok=True)
        model_type = model.config.model_type
        # Tracing changes the model.
        model = copy.deepcopy(model)
        try:
            write_ir(model, folder, WeightFormat(weights), lambda step: None, name=model_type)
        except FastdraftError as refusal:
            pytest.skip(refusal.message)
        _folders[key] = folder
    return _folders[key]


def _key(model: Any) -> str:
    digest = hashlib.sha256(model.config.to_json_string().encode())
    for weights in model.parameters():
        digest.update(weights.detach().numpy().tobytes())
    return digest.hexdigest()[:16]


@cache
def _scratch() -> Path:
    folder = tempfile.TemporaryDirectory(prefix="fastdraft-ir-")
    # Kept alive, and so on disk, until the tests end.
    _open.append(folder)
    return Path(folder.name)


_open: list[tempfile.TemporaryDirectory[str]] = []
