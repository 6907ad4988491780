"""What was used before, newest first: prompts, models that were given by folder or hub id, folders of models."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path

import msgspec

from fastdraft_core import places
from fastdraft_core.files import write_atomic
from fastdraft_core.models.catalog import expanded, own_target

MOST_PROMPTS = 50
MOST_MODELS = 20
LONGEST = 20_000
"""Characters; a longer prompt came from a file and is there still."""


class History(msgspec.Struct):
    """Kept as JSON; a damaged or foreign file is an empty history."""

    prompts: list[str] = []
    models: list[str] = []
    folders: list[str] = []
    """Of models, given by hand; the shelf looks through them."""


def read_history(path: Path) -> History:
    """The history in ``path``, empty where there is none."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=History)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return History()


def remember_prompt(path: Path, text: str) -> None:
    """``text`` was chosen."""
    if text.strip() and len(text) <= LONGEST:
        history = read_history(path)
        history.prompts = _first(text, history.prompts)[:MOST_PROMPTS]
        _write(path, history)


def remember_models(path: Path, names: Iterable[str]) -> None:
    """These models were loaded; those of fastdraft itself and no name at all are no news."""
    history = read_history(path)
    models = history.models
    for name in names:
        if name and not own_target(name):
            models = _first(name, models)
    if models != history.models:
        history.models = models[:MOST_MODELS]
        _write(path, history)


def remember_folder(path: Path, folder: str) -> bool:
    """``folder`` belongs to the shelf from now on, or no more where it did. Returns whether it does."""
    history = read_history(path)
    added = folder not in history.folders
    history.folders = _first(folder, history.folders) if added else [one for one in history.folders if one != folder]
    _write(path, history)
    return added


def model_folders() -> list[Path]:
    """The folders that lists of models look through: told by hand, and those that hold models used before. Reads the disk."""
    return list(dict.fromkeys([*map(Path, read_history(places.history()).folders), *folders_used()]))


def folders_used() -> list[Path]:
    """The folders in which the models lie that were given as folders before. Reads the disk."""
    found: dict[Path, None] = {}
    for name in read_history(places.history()).models:
        with contextlib.suppress(OSError):
            path = expanded(name).absolute()
            if path.exists():
                found[path.parent] = None
    return list(found)


def _write(path: Path, history: History) -> None:
    """Keep the history; where that fails, the session goes on without."""
    with contextlib.suppress(OSError):
        write_atomic(path, msgspec.json.encode(history))


def _first(text: str, others: list[str]) -> list[str]:
    return [text, *(other for other in others if other != text)]
