"""Converting a model to an int8 OpenVINO IR, in a process of its own."""

from __future__ import annotations

import re
from pathlib import Path

from fastdraft_app.client.command import Outcome, fastdraft, last_words
from fastdraft_core import places


def output_folder(name: str) -> Path:
    """Where the IR of the model or job called ``name`` is written."""
    short = re.sub(r"[^A-Za-z0-9.]+", "-", name.rstrip("/")).strip("-.")[-60:]
    return places.exports() / f"{short}-int8-ov"


async def convert(model: str, output: Path, target: str = "") -> Outcome:
    """Write the IR; the outcome says where it is, or what the converter said last.

    A draft gets as many logits as ``target`` has, where that is named.

    Raises:
        OSError: the converter cannot be started.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    fitted = ["--target", target] if target else []
    code, _, talk = await fastdraft("export", model, "--output", str(output), *fitted)
    return Outcome(code == 0, str(output) if code == 0 else last_words(talk, f"exit code {code}"))
