"""What the pickers offer: models, files. Each source answers what is typed with groups of rows.

A source may read the disk, so it is asked outside the event loop.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from itertools import chain
from pathlib import Path

from fastdraft_app.settings.settings import OFF
from fastdraft_core.formatting import count
from fastdraft_core.history import folders_used
from fastdraft_core.models.catalog import (
    SMOLLM2,
    SMOLLM2_HUB,
    ModelEntry,
    bundled_models,
    cached_models,
    downloaded_models,
    expanded,
    is_here,
    llama_cpp_models,
    lm_studio_models,
    models_in,
    ollama_models,
)
from fastdraft_core.models.draft_spec import OFFERED
from fastdraft_core.models.published import PUBLISHED, TARGETS

_MOST_FILES = 500


@dataclass(frozen=True)
class Choice:
    """One choice: ``value`` is what the picker returns; a folder is gone into instead."""

    value: str
    title: str
    facts: str = ""
    folder: bool = False


@dataclass(frozen=True)
class ChoiceGroup:
    """Rows under a heading."""

    title: str
    rows: list[Choice]


Source = Callable[[str], list[ChoiceGroup]]
"""From what is typed to what can be chosen."""


def model_source(*, drafts: bool, vocab_size: int | None = None) -> Source:
    """Models on this machine and the path or hub id typed.

    With ``drafts`` the bundled drafts and off are among them, and a vocabulary other than the target's
    ``vocab_size`` is pointed out; whether a draft fits is decided when it is loaded.
    """

    @cache
    def known() -> list[ChoiceGroup]:
        bundled = [entry for entry in bundled_models() if (":" in entry.name) is drafts]
        smollm2 = [_model_row(entry, vocab_size) for entry in downloaded_models()]
        groups = [
            ChoiceGroup("bundled", [_model_row(entry, vocab_size) for entry in bundled]),
            ChoiceGroup("downloaded", smollm2 or ([] if drafts else [_not_here()])),
            ChoiceGroup("used before, and beside them", [_model_row(entry, vocab_size) for entry in _used_before()]),
            ChoiceGroup("Hugging Face cache", [_model_row(entry, vocab_size) for entry in cached_models()]),
            ChoiceGroup("Ollama", [_model_row(entry, vocab_size) for entry in ollama_models()]),
            ChoiceGroup("LM Studio", [_model_row(entry, vocab_size) for entry in lm_studio_models()]),
            ChoiceGroup("llama.cpp cache", [_model_row(entry, vocab_size) for entry in llama_cpp_models()]),
        ]
        without = [Choice(way, way, words) for way, words in OFFERED.items()]
        off = [Choice(OFF, OFF, "speculation off")]
        return (
            [*groups, ChoiceGroup("without a draft model", without), ChoiceGroup("no draft", off)] if drafts else groups
        )

    def source(typed: str) -> list[ChoiceGroup]:
        typed = typed.strip()
        found = matching(known(), typed)
        if not typed:
            return found
        inside = [_model_row(entry, vocab_size) for entry in models_in(expanded(typed), 1)]
        groups = [ChoiceGroup(f"in {typed}", inside), *paths_from(typed, ".gguf"), *found]
        listed = any(row.value == typed for group in groups for row in group.rows)
        return (
            groups
            if listed
            else [*groups, ChoiceGroup("as typed", [Choice(typed, typed, "folder, .gguf file or hub id")])]
        )

    return source


def folder_source(remembered: Iterable[str]) -> Source:
    """A folder: the one typed, those remembered (chosen again, they are forgotten), and folders on the way."""
    known = [Choice(folder, folder, "on the shelf; enter takes it off") for folder in remembered]

    def source(typed: str) -> list[ChoiceGroup]:
        typed = typed.strip()
        if not typed:
            return [ChoiceGroup("on the shelf", known), *paths_from("~/", None)]
        here = expanded(typed)
        found = models_in(here) if here.is_dir() else []
        rows = [Choice(typed, typed, f"{len(found)} model{'s' * (len(found) != 1)} here")] if here.is_dir() else []
        return [ChoiceGroup("this folder", rows), *paths_from(typed, None)]

    return source


def download_source(typed: str) -> list[ChoiceGroup]:
    """SmolLM2 where it is not here, published drafts, known targets, and the hub id typed."""
    typed = typed.strip()
    groups = [
        ChoiceGroup("what fastdraft opens on", [] if is_here(SMOLLM2) else [Choice(SMOLLM2, SMOLLM2, SMOLLM2_HUB)]),
        ChoiceGroup("published drafts", [Choice(one.draft, one.draft) for one in PUBLISHED]),
        ChoiceGroup("known targets", [Choice(one.name, one.name, "gated" if one.gated else "") for one in TARGETS]),
    ]
    found = matching(groups, typed)
    listed = any(row.value == typed for group in found for row in group.rows)
    return (
        found
        if listed or typed.count("/") != 1
        else [ChoiceGroup("as typed", [Choice(typed, typed, "hub id")]), *found]
    )


def file_source(typed: str) -> list[ChoiceGroup]:
    """Files whose path begins with what is typed, and folders on the way."""
    return paths_from(typed, "") if _is_path(typed) else paths_from(f"./{typed}", "")


def paths_from(typed: str, suffix: str | None) -> list[ChoiceGroup]:
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
    return [ChoiceGroup(f"in {before or '/'}", rows)]


def _used_before() -> list[ModelEntry]:
    """The models given before that are folders, and the models that lie in the same folders."""
    return list(chain.from_iterable(map(models_in, folders_used())))


def matching(groups: list[ChoiceGroup], typed: str) -> list[ChoiceGroup]:
    """The rows whose titles hold every word that is typed."""
    words = typed.lower().split()
    return [
        ChoiceGroup(group.title, [row for row in group.rows if all(word in row.title.lower() for word in words)])
        for group in groups
    ]


def _model_row(entry: ModelEntry, vocab_size: int | None) -> Choice:
    other = vocab_size is not None and entry.vocab_size not in (None, vocab_size)
    facts = (
        f"{entry.architecture.removesuffix('ForCausalLM')} {entry.quantization}".rstrip(),
        f"vocabulary {entry.vocab_size or 'unknown'}" + (" (the target has another)" if other else ""),
        f"{count(entry.weight_bytes)}B",
    )
    return Choice(entry.name, entry.name, ", ".join(facts))


def _not_here() -> Choice:
    return Choice(SMOLLM2, SMOLLM2, f"not here yet; `fastdraft download {SMOLLM2}` brings it")


def _file_row(entry: os.DirEntry[str], before: str) -> Choice:
    if entry.is_dir():
        return Choice(f"{before}{entry.name}/", f"{entry.name}/", folder=True)
    try:
        size = f"{count(entry.stat().st_size)}B"
    except OSError:
        size = "cannot be read"
    return Choice(f"{before}{entry.name}", entry.name, size)


def _entries(folder: Path) -> Iterable[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            entries = [entry for entry, _ in zip(found, range(_MOST_FILES), strict=False)]
    except OSError:
        return []
    return sorted(entries, key=lambda entry: (not entry.is_dir(), entry.name.lower()))


def _is_path(typed: str) -> bool:
    return "/" in typed
