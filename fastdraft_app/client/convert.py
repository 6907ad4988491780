"""Converting a model to an int8 OpenVINO IR, in a process of its own."""

from __future__ import annotations

from pathlib import Path

from fastdraft_app.client.command import Outcome, fastdraft, last_words


async def convert(model: str, output: Path, target: str = "", *, trusted: bool = False) -> Outcome:
    """Write the IR; the outcome says where it is, or what the converter said last.

    A draft gets as many logits as ``target`` has, where that is named. Code that comes with a ``trusted`` model is run.

    Raises:
        OSError: the converter cannot be started.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    fitted = ["--target", target] if target else []
    trust = ["--trust-remote-code"] if trusted else []
    code, _, talk = await fastdraft("export", model, "--output", str(output), *fitted, *trust)
    return Outcome(code == 0, str(output) if code == 0 else last_words(talk, f"exit code {code}"))
