"""Every model on this machine with what its files tell, and which of them fit together. No model library is needed.

A draft fits a target only if their tokenizers give every id the same token; that is read from ``tokenizer.json``.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Literal

import msgspec

from fastdraft_core import places
from fastdraft_core.errors import FastdraftError
from fastdraft_core.models.catalog import (
    ModelEntry,
    bundled_models,
    cached_models,
    downloaded_models,
    expanded,
    llama_cpp_models,
    lm_studio_models,
    models_in,
    ollama_models,
)
from fastdraft_core.models.convertible import conversion_problem
from fastdraft_core.models.fingerprint import fingerprint
from fastdraft_core.models.gguf.facts import gguf_facts
from fastdraft_core.models.weights import count_parameters, is_ir, stamp

Place = Literal[
    "bundled",
    "downloaded",
    "folders",
    "jobs",
    "exported",
    "Hugging Face cache",
    "Ollama",
    "LM Studio",
    "llama.cpp cache",
    "imported",
    "converted",
]
#: Bytes a weight takes in memory; modelled, scales of the integer formats left out.
BYTES_A_WEIGHT = {"float32": 4.0, "bf16": 2.0, "int8": 1.0, "int4": 0.5}
#: What fastdraft itself has made. Nothing else is ever deleted.
_DELETABLE: tuple[Place, ...] = ("downloaded", "exported", "imported", "converted")
#: A draft has at most this share of its target's parameters: a conversion of the target itself has nearly all of them.
_DRAFT_SHARE = 0.8


@dataclass(frozen=True, slots=True)
class ShelfModel:
    """A model on this machine. ``parameters`` is None where no header of its weights can be read.

    ``tokenizer`` names its vocabulary: equal names, equal tokens id by id; empty where no tokenizer.json can be read.
    ``chat`` says that it comes with a chat template.
    """

    entry: ModelEntry
    place: Place
    parameters: int | None
    tokenizer: str
    num_tokens: int
    chat: bool = False

    @property
    def name(self) -> str:
        """What one types for it."""
        return self.entry.name

    @property
    def conversion_problem(self) -> str:
        """Why OpenVINO cannot be given it, as the end of a sentence; empty where it can, or is an OpenVINO model already."""
        if not self.entry.model_type or is_ir(self.folder):
            return ""
        return conversion_problem(self.entry.model_type)

    @property
    def folder(self) -> Path:
        """Where it lies."""
        return Path(self.entry.folder)


def shelf(folders: Iterable[Path] = (), *, checkpoints: bool = False) -> list[ShelfModel]:
    """All models here: bundled, downloaded by name, in ``folders``, of jobs, exported, in the caches of others, imported, converted.

    Of a job only its newest model is listed, unless all its ``checkpoints`` are asked for.
    """
    of_jobs = (models_in(path, 3) for path in _subfolders(places.jobs()))
    jobs = chain.from_iterable(found if checkpoints else _newest(found) for found in of_jobs)
    named: list[tuple[Place, Iterable[ModelEntry]]] = [
        ("bundled", bundled_models()),
        ("downloaded", downloaded_models()),
        ("folders", chain.from_iterable(models_in(folder) for folder in folders)),
        ("jobs", jobs),
        ("exported", models_in(places.exports())),
        ("Hugging Face cache", cached_models()),
        ("Ollama", ollama_models()),
        ("LM Studio", lm_studio_models()),
        ("llama.cpp cache", llama_cpp_models()),
        ("imported", models_in(places.cache() / "gguf")),
        ("converted", models_in(places.cache() / "openvino")),
    ]
    seen: set[Path] = set()
    found = []
    for place, entries in named:
        for entry in entries:
            folder = Path(entry.folder)
            if folder.resolve() not in seen:
                seen.add(folder.resolve())
                found.append(_model(entry, place))
    return found


def drafts_for(target: ShelfModel, models: Iterable[ShelfModel]) -> list[ShelfModel]:
    """Models with the target's tokens and clearly fewer parameters, the smallest first."""
    return sorted((model for model in models if _drafts(model, target)), key=_parameters)


def targets_for(draft: ShelfModel, models: Iterable[ShelfModel]) -> list[ShelfModel]:
    """Models with the draft's tokens and clearly more parameters, the largest first."""
    return sorted((model for model in models if _drafts(draft, model)), key=_parameters, reverse=True)


def _drafts(draft: ShelfModel, target: ShelfModel) -> bool:
    """Whether one can draft for the other: the same tokens, and parameters, never bytes, that leave something to gain."""
    if not draft.tokenizer or draft.tokenizer != target.tokenizer or not draft.parameters or not target.parameters:
        return False
    return draft.parameters <= _DRAFT_SHARE * target.parameters


def _parameters(model: ShelfModel) -> int:
    return model.parameters or 0


def memory(model: ShelfModel) -> dict[str, float]:
    """Bytes of the weights in memory by precision, modelled; none where the parameters are not known."""
    return {name: model.parameters * size for name, size in BYTES_A_WEIGHT.items()} if model.parameters else {}


def find_model(name: str, models: Sequence[ShelfModel]) -> ShelfModel:
    """The one of ``models`` that ``name`` means: what one types for it, its folder, or the last part of that.

    Raises:
        FastdraftError: there is none, or several have this last part.
    """
    path = expanded(name).absolute()
    rules: list[Callable[[ShelfModel], bool]] = [
        lambda model: model.name == name,
        lambda model: model.folder.absolute() == path,
        lambda model: model.folder.name == name,
    ]
    for rule in rules:
        found = [model for model in models if rule(model)]
        if len(found) == 1:
            return found[0]
        if found:
            listed = ", ".join(str(model.folder) for model in found)
            raise FastdraftError(f"{name!r} is the name of {len(found)} models; give one of their folders: {listed}.")
    raise FastdraftError(f"There is no model {name!r} on this machine; `fastdraft models` lists those that are here.")


def export_folder(name: str, ending: str = "int8-ov") -> Path:
    """Where an export of the model or job called ``name`` is written; the ``ending`` says what it is exported as."""
    short = re.sub(r"[^A-Za-z0-9.]+", "-", name.rstrip("/")).strip("-.")[-60:]
    return places.exports() / f"{short}-{ending.replace(':', '-')}"


def doomed(model: ShelfModel) -> Path:
    """The folder that ``delete`` would remove: one that fastdraft made, in a folder of its own.

    Raises:
        FastdraftError: it is not fastdraft's to delete.
    """
    if model.place not in _DELETABLE:
        why = {
            "bundled": "it came with fastdraft",
            "jobs": "it belongs to a job; delete that on the jobs screen or with `fastdraft jobs delete`",
            "Hugging Face cache": f"other programs use that cache, too; `hf cache rm model/{model.name}` deletes it",
            "Ollama": f"it is Ollama's; `ollama rm {model.name.partition(':')[2]}` deletes it",
        }.get(model.place, f"it is yours; delete {model.folder} by hand")
        raise FastdraftError(f"{model.name} is not deleted here: {why}.")
    own = [root.resolve() for root in (places.exports(), places.cache(), places.models())]
    if model.folder.is_symlink() or not any(root in model.folder.resolve().parents for root in own):
        raise FastdraftError(
            f"{model.name} is not deleted here: a link leads to it, and it lies in {model.folder.resolve()}. Delete it by hand."
        )
    return model.folder


def delete(model: ShelfModel) -> None:
    """Delete a model's folder.

    Raises:
        FastdraftError: it is not ours to delete, or cannot be deleted.
    """
    folder = doomed(model)
    try:
        shutil.rmtree(folder)
    except OSError as error:
        raise FastdraftError(f"{folder} cannot be deleted ({error.strerror or error}).") from error


def vocabulary(folder: Path) -> dict[int, str]:
    """The token of every id, from ``tokenizer.json``; empty where that is missing, foreign or damaged."""
    try:
        data = msgspec.json.decode((folder / "tokenizer.json").read_bytes())
        listed = data["model"]["vocab"]
        pairs: Iterator[tuple[int, str]] = (
            ((number, token) for token, number in listed.items())
            if isinstance(listed, dict)
            else ((number, piece[0]) for number, piece in enumerate(listed))
        )
        return dict(pairs) | {added["id"]: added["content"] for added in data.get("added_tokens") or ()}
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, KeyError, TypeError, IndexError, AttributeError):
        return {}


def _model(entry: ModelEntry, place: Place) -> ShelfModel:
    if entry.quantization and (facts := gguf_facts(Path(entry.folder))) is not None:
        return ShelfModel(entry, place, facts.parameters, facts.tokenizer, facts.num_tokens, facts.chat)
    tokenizer = Path(entry.folder, "tokenizer.json")
    name, num_tokens = _fingerprint(tokenizer, *stamp(tokenizer))
    return ShelfModel(
        entry, place, count_parameters(tokenizer.parent), name, num_tokens, _has_template(tokenizer.parent)
    )


def _has_template(folder: Path) -> bool:
    """Whether the tokenizer has a chat template, in a file of its own or in its configuration."""
    if (folder / "chat_template.jinja").is_file():
        return True
    try:
        return bool(
            msgspec.json.decode((folder / "tokenizer_config.json").read_bytes(), type=_TokenizerConfig).chat_template
        )
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return False


class _TokenizerConfig(msgspec.Struct):
    """What is looked for in a tokenizer_config.json; several templates are a list."""

    chat_template: str | list[object] | None = None


@lru_cache(maxsize=512)
def _fingerprint(file: Path, size: int, changed: int) -> tuple[str, int]:
    """A name for the vocabulary and its size; ``size`` and ``changed`` have a file read again when it is another."""
    del changed
    return fingerprint(vocabulary(file.parent) if size else {})


def _newest(found: list[ModelEntry]) -> list[ModelEntry]:
    """The model that was written last; of several written together the one that a training goes on from."""

    def written(entry: ModelEntry) -> tuple[int, bool]:
        folder = Path(entry.folder)
        return max((stamp(file)[1] for file in folder.glob("*.safetensors")), default=0), folder.name != "best"

    return [max(found, key=written)] if found else []


def _subfolders(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError:
        return []
