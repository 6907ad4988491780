"""What the pickers offer: models, recordings, files. Each source answers what is typed with groups of rows.

A source may read the disk, so it is asked outside the event loop.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from itertools import chain
from pathlib import Path

from fastdraft_app.history import read_history
from fastdraft_app.live import recordings
from fastdraft_app.settings.settings import OFF
from fastdraft_core import places
from fastdraft_core.formatting import count
from fastdraft_core.models.catalog import (
    DEMO,
    ModelEntry,
    bundled_models,
    cached_models,
    llama_cpp_models,
    lm_studio_models,
    models_in,
    ollama_models,
)
from fastdraft_core.models.published import PUBLISHED, TARGETS

_MOST_FILES = 500


@dataclass(frozen=True)
class Row:
    """One choice: ``value`` is what the picker returns; a folder is gone into instead."""

    value: str
    title: str
    facts: str = ""
    folder: bool = False


@dataclass(frozen=True)
class Group:
    """Rows under a heading."""

    title: str
    rows: list[Row]


Source = Callable[[str], list[Group]]
"""From what is typed to what can be chosen."""


def model_source(*, drafts: bool, vocab_size: int | None = None) -> Source:
    """Models on this machine and the path or hub id typed.

    With ``drafts`` the bundled drafts and off are among them, and a vocabulary other than the target's
    ``vocab_size`` is pointed out; whether a draft fits is decided when it is loaded.
    """

    @cache
    def known() -> list[Group]:
        bundled = [entry for entry in bundled_models() if (entry.name != DEMO) is drafts]
        groups = [
            Group("bundled", [_model_row(entry, vocab_size) for entry in bundled]),
            Group("used before, and beside them", [_model_row(entry, vocab_size) for entry in _used_before()]),
            Group("Hugging Face cache", [_model_row(entry, vocab_size) for entry in cached_models()]),
            Group("Ollama", [_model_row(entry, vocab_size) for entry in ollama_models()]),
            Group("LM Studio", [_model_row(entry, vocab_size) for entry in lm_studio_models()]),
            Group("llama.cpp cache", [_model_row(entry, vocab_size) for entry in llama_cpp_models()]),
        ]
        return [*groups, Group("no draft", [Row(OFF, OFF, "speculation off")])] if drafts else groups

    def source(typed: str) -> list[Group]:
        typed = typed.strip()
        found = _matching(known(), typed)
        if not typed:
            return found
        inside = [_model_row(entry, vocab_size) for entry in models_in(expanded(typed), 1)]
        groups = [Group(f"in {typed}", inside), *_paths(typed, ".gguf"), *found]
        listed = any(row.value == typed for group in groups for row in group.rows)
        return groups if listed else [*groups, Group("as typed", [Row(typed, typed, "folder, .gguf file or hub id")])]

    return source


def folder_source(remembered: Iterable[str]) -> Source:
    """A folder: the one typed, those remembered (chosen again, they are forgotten), and folders on the way."""
    known = [Row(folder, folder, "on the shelf; enter takes it off") for folder in remembered]

    def source(typed: str) -> list[Group]:
        typed = typed.strip()
        if not typed:
            return [Group("on the shelf", known), *_paths("~/", None)]
        here = expanded(typed)
        found = models_in(here) if here.is_dir() else []
        rows = [Row(typed, typed, f"{len(found)} model{'s' * (len(found) != 1)} here")] if here.is_dir() else []
        return [Group("this folder", rows), *_paths(typed, None)]

    return source


def download_source(typed: str) -> list[Group]:
    """Published drafts, known targets, and the hub id typed."""
    typed = typed.strip()
    groups = [
        Group("published drafts", [Row(one.draft, one.draft) for one in PUBLISHED]),
        Group("known targets", [Row(one.name, one.name, "gated" if one.gated else "") for one in TARGETS]),
    ]
    found = _matching(groups, typed)
    listed = any(row.value == typed for group in found for row in group.rows)
    return found if listed or typed.count("/") != 1 else [Group("as typed", [Row(typed, typed, "hub id")]), *found]


def recording_source() -> Source:
    """Recordings of this machine, the bundled ones, and a path typed."""

    @cache
    def known() -> list[Group]:
        listed = recordings.listed()
        return [
            Group("recorded here", [_recording_row(entry) for entry in listed if not entry.bundled]),
            Group("bundled", [_recording_row(entry) for entry in listed if entry.bundled]),
        ]

    def source(typed: str) -> list[Group]:
        return [*_matching(known(), typed), *_paths(typed, ".jsonl")]

    return source


def file_source(typed: str) -> list[Group]:
    """Files whose path begins with what is typed, and folders on the way."""
    return _paths(typed, "") if _is_path(typed) else _paths(f"./{typed}", "")


def _paths(typed: str, suffix: str | None) -> list[Group]:
    """Files with ``suffix`` (None: no file) and folders that go on from what is typed; hidden ones only when asked for."""
    if not _is_path(typed):
        return []
    before, _, start = typed.rpartition("/")
    rows = [
        _file_row(entry, f"{before}/")
        for entry in _entries(expanded(f"{before}/"))
        if entry.name.lower().startswith(start.lower())
        and (start.startswith(".") or not entry.name.startswith("."))
        and (entry.is_dir() or (suffix is not None and entry.name.endswith(suffix)))
    ]
    return [Group(f"in {before or '/'}", rows)]


def _used_before() -> list[ModelEntry]:
    """The models given before that are folders, and the models that lie in the same folders."""
    return list(chain.from_iterable(map(models_in, folders_used())))


def folders_used() -> list[Path]:
    """The folders in which the models lie that were given as folders before. Reads the disk."""
    found: dict[Path, None] = {}
    for name in read_history(places.history()).models:
        with suppress(OSError):
            path = expanded(name).absolute()
            if path.exists():
                found[path.parent] = None
    return list(found)


def _matching(groups: list[Group], typed: str) -> list[Group]:
    words = typed.lower().split()
    return [
        Group(group.title, [row for row in group.rows if all(word in row.title.lower() for word in words)])
        for group in groups
    ]


def _model_row(entry: ModelEntry, vocab_size: int | None) -> Row:
    other = vocab_size is not None and entry.vocab_size not in (None, vocab_size)
    facts = (
        f"{entry.architecture.removesuffix('ForCausalLM')} {entry.quantization}".rstrip(),
        f"vocabulary {entry.vocab_size or 'unknown'}" + (" (the target has another)" if other else ""),
        f"{count(entry.weight_bytes)}B",
    )
    return Row(entry.name, entry.name, ", ".join(facts))


def _recording_row(entry: recordings.Listed) -> Row:
    load, run = entry.header.load, entry.header.run
    pair = f"{_short(load.target)} + {_short(load.draft) or OFF}"
    speed = f", {entry.speedup:.2f}x" if entry.speedup is not None else ""
    title = f"{entry.header.made[:16].replace('T', ' ')}  {pair}  {' '.join(run.prompt.split())}"
    return Row(str(entry.path), title, f"gamma {run.gamma}, T {run.temperature:g}{speed}")


def _short(name: str) -> str:
    return name.rstrip("/").rpartition("/")[2]


def _file_row(entry: os.DirEntry[str], before: str) -> Row:
    if entry.is_dir():
        return Row(f"{before}{entry.name}/", f"{entry.name}/", folder=True)
    try:
        size = f"{count(entry.stat().st_size)}B"
    except OSError:
        size = "cannot be read"
    return Row(f"{before}{entry.name}", entry.name, size)


def _entries(folder: Path) -> Iterable[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            entries = [entry for entry, _ in zip(found, range(_MOST_FILES), strict=False)]
    except OSError:
        return []
    return sorted(entries, key=lambda entry: (not entry.is_dir(), entry.name.lower()))


def _is_path(typed: str) -> bool:
    return "/" in typed


def expanded(name: str) -> Path:
    """``name`` as a path, with the home of ``~`` where that is known."""
    try:
        return Path(name).expanduser()
    except RuntimeError:
        return Path(name)
