"""Which weights and tokenizer a name means: digests of a model's files, each read once and remembered."""

from __future__ import annotations

import hashlib
from pathlib import Path

from fastdraft_core.models.catalog import parse_name
from fastdraft_core.models.draft_spec import ModelDraft, OtherDraft, SelfDraft, model_of, parse_draft
from fastdraft_core.models.draft_vocab import DRAFT_VOCAB_FILE
from fastdraft_core.models.file_hashes import file_hash
from fastdraft_core.models.folders import local_folder
from fastdraft_core.models.weights import has_source

#: Part of every source key: an older conversion is not used any more when this grows.
_FORMAT = 1
_ALL = (
    "*.safetensors",
    "*.bin",
    "*.xml",
    "config.json",
    "tokenizer.json",
    "tokenizer.model",
    DRAFT_VOCAB_FILE,
)
_SOURCES = ("*.safetensors", "config.json", "*.py")
_IR = ("openvino_model.*", "config.json")


def model_hash(name: str) -> str:
    """16 hex digits of a model's weights, configuration and tokenizer, by their files' names and contents.

    A draft that is loaded with a draft vocabulary of another size is another model.
    """
    digest = hashlib.sha256()
    if (size := parse_name(name).draft_vocab) is not None:
        digest.update(f"draft vocabulary {size}\n".encode())
    for file in _files(local_folder(name), _ALL):
        digest.update(f"{file.name}:{file_hash(file)}\n".encode())
    return digest.hexdigest()[:16]


def draft_hash(name: str, target: str) -> str:
    """16 hex digits of a way to draft for ``target``: of its notation and its model, where there is one."""
    spec = parse_draft(name)
    if isinstance(spec, ModelDraft):
        return model_hash(name)
    model = model_of(spec)
    name = target if isinstance(model, SelfDraft) else str(model.name if isinstance(model, OtherDraft) else model)
    files = "" if model is None else model_hash(name)
    return hashlib.sha256(f"{spec} {files}".encode()).hexdigest()[:16]


def source_key(folder: Path) -> str:
    """16 hex digits that name a model by the bytes of its configuration and weights alone."""
    digest = hashlib.sha256(str(_FORMAT).encode())
    for file in source_files(folder):
        digest.update(f"{file.name} {file_hash(file)}\n".encode())
    return digest.hexdigest()[:16]


def source_files(folder: Path) -> list[Path]:
    """The files that ``source_key`` reads."""
    return _files(folder, _SOURCES if has_source(folder) else _IR)


def _files(folder: Path, patterns: tuple[str, ...]) -> list[Path]:
    return sorted({file for pattern in patterns for file in folder.glob(pattern)})
