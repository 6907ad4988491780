"""Prompts to choose from: the bundled texts and questions by task, and the text of a file; and what a dialog makes of them."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

from fastdraft_app.settings.settings import PromptForm
from fastdraft_core.errors import FastdraftError
from fastdraft_core.events import Exchange

LARGEST_FILE = 1 << 20
"""Bytes of a prompt file; far more than any model's context."""


@dataclass(frozen=True)
class Preset:
    """A prompt with a name, grouped by task; ``form`` is whether it is asked or continued."""

    task: str
    name: str
    text: str
    form: PromptForm = "plain"


@dataclass(frozen=True)
class Asked:
    """A prompt, and how it is put to a target with a chat template: after which turns and under which system prompt, or plain."""

    prompt: str
    form: PromptForm = "template"
    system: str = ""
    earlier: tuple[Exchange, ...] = ()


FALLBACK = Preset("code", "fibonacci", "def fibonacci(n):\n")
"""What is asked when no preset can be read, so that the app always has something to run."""


QUESTION = Preset("explanation", "speculative decoding", "Explain speculative decoding in a few sentences.", "template")
"""The same for targets that are asked."""


def presets(assets: Path) -> list[Preset]:
    """The bundled texts to continue, never an empty list."""
    return _bundled(assets / "demo" / "prompts.toml", "plain") or [FALLBACK]


def questions(assets: Path) -> list[Preset]:
    """The bundled questions, never an empty list."""
    return _bundled(assets / "chat" / "prompts.toml", "template") or [QUESTION]


def _bundled(path: Path, form: PromptForm) -> list[Preset]:
    try:
        entries = tomllib.loads(path.read_text(encoding="utf-8"))["prompt"]
        return [Preset(entry["task"], entry["name"], entry["text"], form) for entry in entries]
    except (OSError, KeyError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        return []


def preset_name(text: str, choices: list[Preset]) -> str:
    """Name of the preset that ``text`` is, or ``own prompt``."""
    return next((f"{preset.task} / {preset.name}" for preset in choices if preset.text == text), "own prompt")


def read_prompt(path: Path) -> str:
    """The text of a prompt file.

    Raises:
        FastdraftError: it is missing, no text, empty, or longer than any prompt.
    """
    path = path.expanduser()
    try:
        if not path.is_file():
            raise FastdraftError(f"There is no file at {path}. Give a text file.")
        if path.stat().st_size > LARGEST_FILE:
            raise FastdraftError(f"{path} is larger than 1 MiB, which no model here can continue. Give a shorter file.")
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise FastdraftError(f"{path} cannot be read as text ({error}).") from error
    if not text.strip():
        raise FastdraftError(f"{path} is empty; there is nothing to continue.")
    return text
