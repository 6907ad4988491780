"""Prompts to choose from: the bundled ones by task, and the text of a file."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

from fastdraft_core.errors import FastdraftError

LARGEST_FILE = 1 << 20
"""Bytes of a prompt file; far more than any model's context."""


@dataclass(frozen=True)
class Preset:
    """A prompt with a name, grouped by task."""

    task: str
    name: str
    text: str


FALLBACK = Preset("code", "fibonacci", "def fibonacci(n):\n")
"""What is asked when no preset can be read, so that the app always has something to run."""


def presets(assets: Path) -> list[Preset]:
    """The bundled prompts, never an empty list."""
    try:
        with (assets / "demo" / "prompts.toml").open("rb") as file:
            entries = tomllib.load(file)["prompt"]
        return [Preset(entry["task"], entry["name"], entry["text"]) for entry in entries] or [FALLBACK]
    except (OSError, KeyError, tomllib.TOMLDecodeError):
        return [FALLBACK]


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
