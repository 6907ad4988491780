"""Exporting a model for other programs, in a process of its own."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from fastdraft_app.client.command import Outcome, fastdraft, last_words


class Form(NamedTuple):
    """What a model can be exported as: for people, the end of its folder's name, and the options of the command."""

    about: str
    ending: str
    options: tuple[str, ...]


FORMS: dict[str, Form] = {
    "openvino": Form("OpenVINO: an int8 IR, for fastdraft and OpenVINO GenAI", "int8-ov", ()),
    "gguf": Form("GGUF: a q8_0 file for llama.cpp, LM Studio and Ollama", "q8_0-gguf", ("--to", "gguf")),
    "hf": Form("Hugging Face: safetensors for transformers and vLLM", "hf", ("--to", "hf")),
}
"""By the name that ``fastdraft export --to`` has for them."""


async def convert(
    model: str, output: Path, target: str = "", form: str = "openvino", *, trusted: bool = False
) -> Outcome:
    """Write the export; the outcome says where it is, or what the command said last.

    A draft gets as many logits as ``target`` has, where that is named. Code that comes with a ``trusted`` model is run.

    Raises:
        OSError: the command cannot be started.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    fitted = ["--target", target] if target else []
    trust = ["--trust-remote-code"] if trusted else []
    code, _, talk = await fastdraft("export", model, "--output", str(output), *FORMS[form].options, *fitted, *trust)
    return Outcome(code == 0, str(output) if code == 0 else last_words(talk, f"exit code {code}"))
