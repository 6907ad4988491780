"""Which weights and tokenizer a name meant: digests for a result that somebody wants to repeat."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from fastdraft_core.runtimes.torch.loading import local_folder

_FILES = ("*.safetensors", "*.bin", "*.xml", "config.json", "tokenizer.json", "tokenizer.model")
_CHUNK = 1 << 22


def model_hash(name: str) -> str:
    """16 hex digits of a model's weights, configuration and tokenizer, by their files' names and contents."""
    digest = hashlib.sha256()
    where = local_folder(name)
    for file in sorted({path for pattern in _FILES for path in where.glob(pattern)}):
        digest.update(f"{file.name}:{_file_hash(file)}\n".encode())
    return digest.hexdigest()[:16]


def _file_hash(file: Path) -> str:
    # The hub's cache names a large file by the digest of its content: no need to read gigabytes again.
    kept = file.resolve().name
    if file.is_symlink() and re.fullmatch(r"[0-9a-f]{64}", kept):
        return kept
    digest = hashlib.sha256()
    with file.open("rb") as content:
        while chunk := content.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
