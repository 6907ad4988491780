"""Names that people type, the folders or hub ids that they stand for, and which models are on this machine."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from fastdraft_core import places
from fastdraft_core.errors import FastdraftError
from fastdraft_core.models.gguf import locations
from fastdraft_core.models.gguf.facts import gguf_facts
from fastdraft_core.models.weights import weight_files

#: The bundled target, and a published one that ``fastdraft download`` brings; ``demo:S`` is draft S of the first.
DEMO, SMOLLM2 = "demo", "smollm2"
OWN_TARGETS = (DEMO, SMOLLM2)
#: The published one on the hub.
SMOLLM2_HUB = "HuggingFaceTB/SmolLM2-135M-Instruct"
#: Sizes of drafts in their order.
_SIZES = ("XS", "S", "M")
#: The drafts that a target is shown with, the first of them that is bundled.
_SHOWN = {DEMO: ("S",), SMOLLM2: ("M", "S")}
#: A folder of models is looked through this deep: ``models/owner/model``.
_DEPTH = 2
#: More folders than this are no place for models, such as a home or the root of a disk.
_MOST_FOLDERS = 500
#: Hidden folders, and the beginnings of models that are renamed once they are whole.
_PASSED_OVER = re.compile(r"^\.|\.building(-\d+)?$")


_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


class ModelEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A model on this machine. ``name`` is what one types for it; ``weight_bytes`` its files' size; ``folder`` where it lies.

    ``vocab_size`` is the configuration's; a draft fits a target only if their tokenizers agree, which
    is proved when both are loaded. ``context`` is in tokens, where the configuration tells it; ``model_type`` is its word for the
    kind of model. A GGUF model has a ``quantization``, and lies in the file ``folder``.
    """

    name: str
    architecture: str
    vocab_size: int | None
    weight_bytes: int
    folder: str = ""
    context: int | None = None
    quantization: str = ""
    model_type: str = ""


class _Config(msgspec.Struct):
    """What the list of models needs of a config.json."""

    architectures: list[str] | None = None
    vocab_size: int | None = None
    max_position_embeddings: int | None = None
    text_config: dict[str, object] | None = None
    model_type: str = ""


@dataclass(frozen=True, slots=True)
class ModelName:
    """What people type for a model, taken apart: ``base`` says which files, the rest how a draft is loaded.

    ``draft_vocab`` is how many ids its head scores, None for all that it can.
    """

    base: str
    draft_vocab: int | None = None

    def __str__(self) -> str:
        """As it is typed."""
        return self.base if self.draft_vocab is None else f"{self.base}@vocab={self.draft_vocab}"


def parse_name(name: str) -> ModelName:
    """Take apart ``demo:S@vocab=1024``, ``FOLDER@vocab=16384`` or a name without options.

    Raises:
        FastdraftError: there is no such option, or its value is no number above 0.
    """
    base, at, option = name.rpartition("@")
    key, equals, value = option.partition("=")
    # An @ may stand in the name of a folder.
    if not at or not equals or "/" in option or "\\" in option:
        return ModelName(name)
    if key != "vocab":
        raise FastdraftError(f"There is no option {key!r} of a draft in {name!r}; there is @vocab=NUMBER.")
    if not value.isdecimal() or int(value) == 0:
        raise FastdraftError(f"@vocab={value} in {name!r} is no number of ids; write for example {base}@vocab=1024.")
    if parse_name(base).draft_vocab is not None:
        raise FastdraftError(f"{name!r} gives @vocab twice; leave one out.")
    return ModelName(base, int(value))


def own_target(name: str) -> str:
    """The one of ``OWN_TARGETS`` that ``name`` is, or is a draft of, such as ``demo`` for ``demo:S``; empty for other models."""
    target = name.partition("@vocab=")[0].partition(":")[0]
    return target if target in OWN_TARGETS else ""


def bundled_drafts(target: str) -> list[str]:
    """Names of the bundled drafts of ``target``, smallest first: ``demo:XS``, ``demo:S``, ``demo:M``; none of other models."""
    if target not in OWN_TARGETS:
        return []
    found = {path.parent.name for path in (places.assets() / target / "drafts").glob("*/config.json")}
    order = {size: number for number, size in enumerate(_SIZES)}
    return [f"{target}:{size}" for size in sorted(found, key=lambda size: (order.get(size, len(order)), size))]


def usual_draft(target: str) -> str:
    """The bundled draft that ``target`` is shown with; empty where it has none."""
    drafts = bundled_drafts(target)
    return next(
        (name for size in _SHOWN.get(target, ()) if (name := f"{target}:{size}") in drafts), next(iter(drafts), "")
    )


def is_here(target: str) -> bool:
    """Whether this one of ``OWN_TARGETS`` lies on this machine."""
    return (_target_folder(target) / "config.json").is_file()


def first_pair() -> tuple[str, str]:
    """The target and draft to begin with: SmolLM2 where it is here and a draft of it is bundled, else the bundled pair."""
    target = SMOLLM2 if is_here(SMOLLM2) and usual_draft(SMOLLM2) else DEMO
    return target, usual_draft(target) or f"{target}:S"


def resolve(name: str) -> str:
    """The folder, GGUF file or hub id that ``name`` stands for: ``demo:S``, a path, ``ollama:llama3.2:3b``, ``owner/model``.

    Options, as in ``demo:S@vocab=1024``, change nothing here.

    Raises:
        FastdraftError: it is a path that does not exist, a bundled name or an Ollama model that there is not, or an
            option is wrong.
    """
    name = parse_name(name).base
    if own_target(name):
        return str(_own_folder(name))
    path = expanded(name)
    if (file := locations.named_file(name, path)) is not None:
        return str(file)
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise FastdraftError(
                f"{path} has no config.json, so it is not a model folder. Give a Hugging Face model folder or a .gguf file."
            )
        return str(path)
    if path.exists():
        raise FastdraftError(
            f"{path} is a file; give the folder that holds config.json and the safetensors weights, or a .gguf file."
        )
    looks_like_id = name.count("/") == 1 and not name.startswith((".", "/", "~")) and "\\" not in name
    if not looks_like_id:
        raise FastdraftError(
            f"There is no model folder at {path}. Give a folder, a .gguf file, a hub id (owner/model), {DEMO!r} or {SMOLLM2!r}."
        )
    return name


def hub_id(name: str) -> str | None:
    """The id of the hub that ``name`` is, or stands for; None for what is bundled and for a folder of this machine."""
    if name == SMOLLM2:
        return SMOLLM2_HUB
    return name if _HUB_ID.fullmatch(name) and not expanded(name).exists() else None


def lasting(name: str) -> str:
    """``name`` as it means the same from every working folder: a folder or file by its whole path, any other as it is."""
    parsed = parse_name(name)
    path = expanded(parsed.base)
    if not parsed.base or own_target(parsed.base) or not path.exists():
        return name
    return str(replace(parsed, base=str(path.absolute())))


def bundled_models() -> list[ModelEntry]:
    """The bundled target and its drafts, smallest first, then the bundled drafts of SmolLM2."""
    there = [DEMO] if is_here(DEMO) else []
    names = [*there, *bundled_drafts(DEMO), *bundled_drafts(SMOLLM2)]
    return [entry for name in names if (entry := _entry(_own_folder(name), name)) is not None]


def downloaded_models() -> list[ModelEntry]:
    """SmolLM2, where ``fastdraft download smollm2`` has brought it."""
    entry = _entry(_target_folder(SMOLLM2), SMOLLM2)
    return [entry] if entry is not None else []


def cached_models() -> list[ModelEntry]:
    """Causal models with weights in the Hugging Face cache, by name; an absent or damaged cache has none.

    GGUF files are named by their paths, since a repository often holds one model in many quantizations.
    """
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        repositories = scan_cache_dir(hub_cache()).repos
    except (CacheNotFound, OSError, ValueError):
        return []
    found: list[ModelEntry] = []
    for repository in sorted(repositories, key=lambda repository: repository.repo_id.lower()):
        newest = max(repository.revisions, key=lambda revision: revision.last_modified, default=None)
        if repository.repo_type == "model" and newest is not None:
            entry = _entry(newest.snapshot_path, repository.repo_id)
            found += [entry] if entry is not None else []
            found += _gguf_entries((str(file), file) for file in locations.below(newest.snapshot_path, 1))
    return found


def models_in(folder: Path, depth: int = _DEPTH) -> list[ModelEntry]:
    """Causal models with weights in ``folder`` itself or up to ``depth`` levels below it, by path; GGUF files as well."""
    found = []
    for path in _folders(folder, depth):
        entry = _entry(path, str(path))
        found += [entry] if entry is not None else _gguf_entries((str(file), file) for file in locations.files_in(path))
    return found


def ollama_models() -> list[ModelEntry]:
    """What Ollama has on this machine and can be imported, by names such as ``ollama:llama3.2:3b``."""
    return _gguf_entries(locations.ollama_models())


def lm_studio_models() -> list[ModelEntry]:
    """What LM Studio has on this machine and can be imported, by file."""
    return _gguf_entries((str(file), file) for file in locations.lm_studio_models())


def llama_cpp_models() -> list[ModelEntry]:
    """What lies in llama.cpp's cache and can be imported, by file."""
    return _gguf_entries((str(file), file) for file in locations.llama_cpp_models())


def hub_cache() -> Path:
    """Where Hugging Face models are kept, by its own environment variables."""
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"
    return Path(os.environ.get("HF_HUB_CACHE") or Path(home) / "hub").expanduser()


def expanded(name: str) -> Path:
    """``name`` as a path, with the home of ``~`` where that is known."""
    path = Path(name)
    # A tilde before a name that no user has stays as it is.
    with contextlib.suppress(RuntimeError):
        path = path.expanduser()
    return path


def _folders(folder: Path, depth: int) -> Iterator[Path]:
    """``folder`` and what lies in it; left out are hidden folders, those inside a model, and those that are being written."""
    yield folder
    try:
        if depth == 0 or (folder / "config.json").is_file():
            return
        inside = sorted(path for path in folder.iterdir() if not _PASSED_OVER.search(path.name) and path.is_dir())
    except OSError:
        return
    for path in inside[:_MOST_FOLDERS]:
        yield from _folders(path, depth - 1)


def _entry(folder: Path, name: str) -> ModelEntry | None:
    """The entry of a model folder, or None where it holds no causal model with weights that can be used."""
    try:
        weights = [*weight_files(folder), *folder.glob("openvino_model.bin")]
        config = msgspec.json.decode((folder / "config.json").read_bytes(), type=_Config)
        size = sum(file.stat().st_size for file in weights)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None
    architecture = next(iter(config.architectures or []), "")
    if not weights or not architecture.endswith(("ForCausalLM", "LMHeadModel", "ForConditionalGeneration")):
        return None
    inner = (config.text_config or {}).get("vocab_size")
    vocabulary = config.vocab_size or (inner if isinstance(inner, int) else None)
    return ModelEntry(
        name=name,
        architecture=architecture,
        vocab_size=vocabulary,
        weight_bytes=size,
        folder=str(folder),
        context=config.max_position_embeddings,
        model_type=config.model_type,
    )


def _gguf_entries(named: Iterable[tuple[str, Path]]) -> list[ModelEntry]:
    """The entries of files that can be imported, by what one types for them."""
    return [
        ModelEntry(
            name=name,
            architecture=facts.architecture,
            vocab_size=facts.vocab_size,
            weight_bytes=facts.num_bytes,
            folder=str(file),
            context=facts.context,
            quantization=facts.quantization,
        )
        for name, file in named
        if (facts := gguf_facts(file)) is not None
    ]


def _target_folder(target: str) -> Path:
    """Where this one of ``OWN_TARGETS`` lies, or would."""
    return places.assets() / DEMO / "target" if target == DEMO else places.models() / target


def _own_folder(name: str) -> Path:
    """The folder of one of ``OWN_TARGETS``, or of its draft."""
    target, _, size = name.partition(":")
    folder = places.assets() / target / "drafts" / size if size else _target_folder(target)
    if (folder / "config.json").is_file():
        return folder
    if name == SMOLLM2:
        raise FastdraftError(
            f"{SMOLLM2} ({SMOLLM2_HUB}) is not on this machine yet: `fastdraft download {SMOLLM2}` brings it, at most 270 MB."
        )
    bundled = ", ".join([*([target] if is_here(target) else []), *bundled_drafts(target)])
    raise FastdraftError(f"There is no bundled model {name!r}; bundled: {bundled or 'none in this installation'}.")
