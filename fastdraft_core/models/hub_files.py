"""One large file of the hub into the hub's own cache, with its parts kept.

huggingface_hub 1.x begins a file anew when its download was broken off, since it trusts no lock on a shared disk. Here the
part stays beside the cache's blobs, only one process writes it, and what was continued is checked by its hash.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import filelock

from fastdraft_core.errors import FastdraftError
from fastdraft_core.models.catalog import hub_cache

#: What a model needs beside its weights. Code is fetched like any other file; it is run only where that was asked for.
SMALL_FILES = ["*.json", "*.txt", "*.model", "*.jinja", "*.md", "*.py"]
#: For transformers or for OpenVINO; pickled weights are not wanted, nor copies of the same weights in other forms.
WEIGHT_FILES = ["*.safetensors", "openvino_*.xml", "openvino_*.bin"]
LEFT_OUT = ["original/*", "consolidated*", "onnx/*"]

#: Of a SHA-256 in hexadecimal digits: the name that the hub gives to large files.
_SHA256_DIGITS = 64


def repository(name: str) -> Path:
    """Where the cache keeps the model ``name``."""
    return hub_cache() / f"models--{name.replace('/', '--')}"


def fetch(name: str, file: str, commit: str) -> None:
    """Fetch ``file`` of the model at ``commit`` as the blob that the cache expects, going on with a part that is there.

    Raises:
        FastdraftError: another process fetches it, or what came is damaged.
        OSError: the hub cannot be reached, refuses, or the disk is full.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers

    url = hf_hub_url(name, file, revision=commit)
    told = get_hf_file_metadata(url)
    if told.etag is None or told.size is None:
        return
    blob = repository(name) / "blobs" / told.etag
    part = blob.with_name(f"{told.etag}.fastdraft.incomplete")
    blob.parent.mkdir(parents=True, exist_ok=True)
    try:
        with filelock.FileLock(_lock(name, told.etag), timeout=0):
            if blob.exists():
                return
            begun = part.stat().st_size if part.exists() else 0
            if begun > told.size:
                part.unlink()
                begun = 0
            with part.open("ab") as opened:
                http_get(url, opened, resume_size=begun, headers=build_hf_headers(), expected_size=told.size)
            if begun:
                _check(part, told.etag, file)
            part.replace(blob)
    except filelock.Timeout as error:
        raise FastdraftError(f"Another program is downloading {file} of {name}; wait for that one.") from error


def _lock(name: str, etag: str) -> Path:
    """The hub's own lock for the blob, so that its library waits for us as well."""
    folder = hub_cache() / ".locks" / repository(name).name
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{etag}.lock"


def _check(part: Path, etag: str, file: str) -> None:
    """A continued file must be the hub's, where its name tells the hash."""
    if len(etag) != _SHA256_DIGITS:
        return
    with part.open("rb") as opened:
        found = hashlib.file_digest(opened, "sha256").hexdigest()
    if found != etag:
        part.unlink()
        raise FastdraftError(f"What came of {file} is damaged and was deleted. Download it again.")
