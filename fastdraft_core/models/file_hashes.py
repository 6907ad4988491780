"""The SHA-256 of large files, read once: it is remembered by a file's path, size and time of change."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import msgspec

from fastdraft_core import places
from fastdraft_core.files import remember, remembered

#: Ollama names its files by their hash.
_BLOB = re.compile(r"^sha256-[0-9a-f]{64}$")


class _Seen(msgspec.Struct):
    """The hash of a file that had this size and time of change."""

    size: int
    changed: int
    sha256: str


def file_hash(file: Path) -> str:
    """The hash of ``file`` in hexadecimal digits. Reading it takes a while once."""
    if known := known_hash(file):
        return known
    with file.open("rb") as opened:
        found = hashlib.file_digest(opened, "sha256").hexdigest()
    status = file.stat()
    remember(_index(), _hashes() | {str(file.resolve()): _Seen(status.st_size, status.st_mtime_ns, found)})
    return found


def is_blob(file: Path) -> bool:
    """Whether ``file`` is named by its hash, as Ollama's are."""
    return _BLOB.match(file.name) is not None


def known_hash(file: Path) -> str:
    """The hash of the file as it is now, empty if it would have to be read for it."""
    if is_blob(file):
        return file.name.removeprefix("sha256-")
    # The hub's cache names a large file by the digest of its content: no need to read gigabytes again.
    if file.is_symlink() and re.fullmatch(r"[0-9a-f]{64}", file.resolve().name):
        return file.resolve().name
    seen, status = _hashes().get(str(file.resolve())), file.stat()
    same = seen and (seen.size, seen.changed) == (status.st_size, status.st_mtime_ns)
    return seen.sha256 if seen and same else ""


def _hashes() -> dict[str, _Seen]:
    return remembered(_index(), dict[str, _Seen]) or {}


def _index() -> Path:
    return places.cache() / "hashes.json"
