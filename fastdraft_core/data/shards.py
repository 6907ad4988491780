"""Token shards: flat memory-mapped files beside a JSON index.

``tokens.bin`` holds uint16 or uint32 ids, as the vocabulary needs; ``starts.bin`` where each document
begins, as int64. ``mask.bin``, where present, holds one byte a token: 1 where the loss counts.
``index.json`` names the source, the tokenizer's hash, the counts and the checksums; a shard that does
not agree with it is refused by name.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import psutil

from fastdraft_core.errors import FastdraftError

_EMPTY_SHA256 = hashlib.sha256().hexdigest()
_PIECE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class ShardIndex:
    """What ``index.json`` says of a shard. ``dropped`` counts documents that were left out, by reason.

    Rows are shuffled within stretches of ``window`` tokens, 0: over all of it. ``whole`` is false where the source has more.
    """

    source: str
    tokenizer_hash: str
    dtype: str
    num_tokens: int
    num_documents: int
    sha256: str
    has_mask: bool = False
    mask_sha256: str = ""
    starts_sha256: str = _EMPTY_SHA256
    dropped: dict[str, int] = field(default_factory=dict)
    window: int = 0
    whole: bool = True


@dataclass(frozen=True, slots=True)
class Shard:
    """An opened shard: ids ``[num_tokens]`` and, where there is one, the loss mask ``[num_tokens]``.

    ``starts`` [num_documents] are the ascending positions where documents begin.
    """

    folder: Path
    index: ShardIndex
    tokens: npt.NDArray[np.generic]
    mask: npt.NDArray[np.uint8] | None
    starts: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(1, dtype=np.int64))

    @property
    def place(self) -> Path:
        """A path that stands for these very tokens: what is made of them lies beside it, also where the shard grows."""
        return (
            self.folder
            if not self.index.window
            else self.folder.with_name(f"{self.folder.name}-{self.index.sha256[:16]}")
        )


def token_dtype(vocab_size: int) -> np.dtype[Any]:
    """The smallest type that holds every id."""
    return np.dtype(np.uint16 if vocab_size <= 1 << 16 else np.uint32)


def write_shard(
    folder: Path,
    rows: Iterable[tuple[list[int], list[int] | None]],
    *,
    source: str,
    tokenizer_hash: str,
    vocab_size: int,
) -> ShardIndex:
    """Write documents, each ``(ids, mask or None)``, as one shard; memory stays constant.

    The shard is built beside ``folder`` and renamed, so a killed build leaves nothing readable.
    """
    dtype = token_dtype(vocab_size)
    remove_leftovers(folder)
    building = folder.with_name(f"{folder.name}.building-{os.getpid()}")
    building.mkdir(parents=True, exist_ok=True)
    num_tokens, num_documents, has_mask = 0, 0, False
    with (
        (building / "tokens.bin").open("wb") as tokens_file,
        (building / "starts.bin").open("wb") as starts_file,
        (building / "mask.bin").open("wb") as mask_file,
    ):
        for ids, mask in rows:
            tokens_file.write(np.asarray(ids, dtype=dtype).tobytes())
            starts_file.write(np.int64(num_tokens).tobytes())
            if mask is not None:
                has_mask = True
                mask_file.write(bytes(mask))
            num_tokens += len(ids)
            num_documents += 1
    if not has_mask:
        (building / "mask.bin").unlink()
    index = ShardIndex(
        source=source,
        tokenizer_hash=tokenizer_hash,
        dtype=dtype.name,
        num_tokens=num_tokens,
        num_documents=num_documents,
        sha256=file_sha256(building / "tokens.bin"),
        has_mask=has_mask,
        mask_sha256=file_sha256(building / "mask.bin") if has_mask else "",
        starts_sha256=file_sha256(building / "starts.bin"),
    )
    install(building, folder, index)
    return index


def install(building: Path, folder: Path, index: ShardIndex) -> None:
    """Put the whole shard in ``building`` in the place of ``folder``."""
    (building / "index.json").write_text(json.dumps(asdict(index), indent=2))
    if folder.exists():
        shutil.rmtree(folder)
    building.rename(folder)


def remove_leftovers(folder: Path) -> None:
    """Delete what processes that are no more had half built beside ``folder``."""
    for left in folder.parent.glob(f"{folder.name}.building-*"):
        number = left.name.rpartition("-")[2]
        if number.isdecimal() and (int(number) == os.getpid() or not psutil.pid_exists(int(number))):
            shutil.rmtree(left, ignore_errors=True)


def open_shard(folder: Path, *, tokenizer_hash: str) -> Shard:
    """Open a shard and check it against its index.

    Raises:
        FastdraftError: the shard is missing, damaged, or made by another tokenizer.
    """
    return open_files(
        folder, lambda: ShardIndex(**json.loads((folder / "index.json").read_text())), tokenizer_hash=tokenizer_hash
    )


def open_files(folder: Path, read_index: Callable[[], ShardIndex], *, tokenizer_hash: str) -> Shard:
    """Open the files of a shard as far as its index goes, and check them against it.

    Raises:
        FastdraftError: as ``open_shard``.
    """
    try:
        index = read_index()
        tokens = _mapped(folder / "tokens.bin", index.dtype, index.num_tokens)
        starts = _mapped(folder / "starts.bin", "int64", index.num_documents)
        mask = _mapped(folder / "mask.bin", "uint8", index.num_tokens) if index.has_mask else None
        arrays = {"tokens": tokens, "starts": starts} | ({} if mask is None else {"mask": mask})
        sums = {name: file_sha256(folder / f"{name}.bin", array.nbytes) for name, array in arrays.items()}
    except (OSError, ValueError, TypeError) as error:
        raise FastdraftError(
            f"Token shard {folder} cannot be read ({error}). Delete the folder and run again to rebuild it."
        ) from error
    if index.tokenizer_hash != tokenizer_hash:
        raise FastdraftError(
            f"Token shard {folder} was made with tokenizer {index.tokenizer_hash}, but this training uses "
            f"{tokenizer_hash}. Delete the folder to rebuild it, or use the other tokenizer."
        )
    written = {"tokens": index.sha256, "starts": index.starts_sha256, "mask": index.mask_sha256}
    for name, digest in sums.items():
        if digest != written[name]:
            raise FastdraftError(
                f"Token shard {folder} is damaged: {name}.bin does not match its checksum. Delete the folder to rebuild it."
            )
    return Shard(folder, index, tokens, mask, starts)


def file_sha256(path: Path, size: int | None = None) -> str:
    """The checksum of a file's bytes, or of its first ``size``, read piece by piece."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        if size is None:
            return hashlib.file_digest(file, "sha256").hexdigest()
        while piece := file.read(min(_PIECE_BYTES, size - file.tell())):
            digest.update(piece)
    return digest.hexdigest()


def _mapped(path: Path, dtype: str, size: int) -> Any:
    """The first ``size`` entries of a file; none cannot be mapped."""
    return np.memmap(path, dtype=dtype, mode="r", shape=(size,)) if size else np.zeros(0, dtype=dtype)
