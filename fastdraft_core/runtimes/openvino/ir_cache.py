"""Models that OpenVINO ran before: an IR of each, made once and kept in the user's cache by the source's hash."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

from fastdraft_core import places
from fastdraft_core.errors import FastdraftError
from fastdraft_core.models.file_hashes import known_hash
from fastdraft_core.models.identity import source_key
from fastdraft_core.models.weights import is_ir, is_ir_alone, weight_files
from fastdraft_core.runtimes.openvino.conversion import WeightFormat, convert

#: Converting more than this for the first time takes longer than anybody waits unasked.
_QUICK_BYTES = 2 << 30


def ir_of(
    folder: Path, name: str, weights: str, report: Callable[[str], None], *, trust_remote_code: bool = False
) -> Path:
    """The IR of the model in ``folder``: itself if it is one, else a conversion, made now or found in the cache.

    Raises:
        FastdraftError: it cannot be converted, or other ``weights`` are asked of a ready IR.
    """
    if is_ir_alone(folder):
        if weights:
            raise FastdraftError(
                f"{name} is an OpenVINO model already and its weights stay as they are. Leave --weights out, or give the "
                "Hugging Face folder that it was made of."
            )
        return folder
    chosen = WeightFormat.parse(weights or "original")
    output = _place(folder, name, chosen)
    if is_ir(output):
        return output
    report(f"converting {name} to OpenVINO, once")
    output.parent.mkdir(parents=True, exist_ok=True)
    try:
        convert(folder, output, chosen, report, name=name, trust_remote_code=trust_remote_code)
    except FastdraftError:
        # Another process may have been first.
        if not is_ir(output):
            raise
    return output


def forget(folder: Path, name: str, weights: str) -> None:
    """Delete the kept conversion of a model that nobody will load again."""
    shutil.rmtree(_place(folder, name, WeightFormat.parse(weights or "original")), ignore_errors=True)


def is_converted(folder: Path, name: str, weights: str) -> bool:
    """Whether ``ir_of`` would be quick. A file that was never read for its hash has no conversion either."""
    if is_ir_alone(folder):
        return True
    known = all(known_hash(file) for file in weight_files(folder))
    return known and is_ir(_place(folder, name, WeightFormat.parse(weights or "original")))


def takes_long(folder: Path, name: str) -> bool:
    """Whether ``ir_of`` would convert more than anybody waits for unasked."""
    size = sum(file.stat().st_size for file in weight_files(folder))
    return size > _QUICK_BYTES and not is_converted(folder, name, "")


def _place(folder: Path, name: str, weights: WeightFormat) -> Path:
    short = re.sub(r"[^A-Za-z0-9.]+", "-", name.rstrip("/\\")).strip("-.")[-40:]
    return places.cache() / "openvino" / f"{short}-{source_key(folder)}-{weights.slug}"
