"""Which weights and tokenizer a name means: digests of a model's files, each read once and remembered."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import msgspec

from fastdraft_core import places
from fastdraft_core.files import remember, remembered
from fastdraft_core.models.catalog import parse_name
from fastdraft_core.models.draft_vocab import DRAFT_VOCAB_FILE
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


class _Seen(msgspec.Struct):
    """The hash of a file that had this size and time of change."""

    size: int
    changed: int
    sha256: str


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


def source_key(folder: Path) -> str:
    """16 hex digits that name a model by the bytes of its configuration and weights alone."""
    digest = hashlib.sha256(str(_FORMAT).encode())
    for file in source_files(folder):
        digest.update(f"{file.name} {file_hash(file)}\n".encode())
    return digest.hexdigest()[:16]


def source_files(folder: Path) -> list[Path]:
    """The files that ``source_key`` reads."""
    return _files(folder, _SOURCES if has_source(folder) else _IR)


def file_hash(file: Path) -> str:
    """The SHA-256 of a file; reading it takes a while once, until its size or time of change is another."""
    if known := known_hash(file):
        return known
    with file.open("rb") as opened:
        found = hashlib.file_digest(opened, "sha256").hexdigest()
    status = file.stat()
    remember(_index(), _hashes() | {str(file.resolve()): _Seen(status.st_size, status.st_mtime_ns, found)})
    return found


def known_hash(file: Path) -> str:
    """The hash of the file as it is now, empty if it was never read so."""
    # The hub's cache names a large file by the digest of its content: no need to read gigabytes again.
    if file.is_symlink() and re.fullmatch(r"[0-9a-f]{64}", file.resolve().name):
        return file.resolve().name
    seen, status = _hashes().get(str(file.resolve())), file.stat()
    same = seen and (seen.size, seen.changed) == (status.st_size, status.st_mtime_ns)
    return seen.sha256 if seen and same else ""


def _files(folder: Path, patterns: tuple[str, ...]) -> list[Path]:
    return sorted({file for pattern in patterns for file in folder.glob(pattern)})


def _hashes() -> dict[str, _Seen]:
    return remembered(_index(), dict[str, _Seen]) or {}


def _index() -> Path:
    return places.cache() / "openvino" / "hashes.json"
