"""Where GGUF models lie on this machine, and what people call them: a file, its folder, or ``ollama:name:tag``."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec

from fastdraft_core.errors import FastdraftError
from fastdraft_core.models.gguf.model_file import is_later_part, parts

OLLAMA = "ollama:"
_REGISTRY, _LIBRARY, _TAG = "registry.ollama.ai", "library", "latest"
_MODEL_LAYER, _ADAPTER_LAYER = "application/vnd.ollama.image.model", "application/vnd.ollama.image.adapter"
_SAFE = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
_DIGEST = re.compile(r"^sha256:[0-9a-f]{64}$")
#: Encoders of images and sound, which lie beside some models.
_PROJECTOR = "mmproj"
_MOST_FILES = 500


class _Layer(msgspec.Struct, rename={"media_type": "mediaType"}):
    """A blob of an Ollama model and what it is."""

    media_type: str
    digest: str


class _Manifest(msgspec.Struct):
    """What an Ollama model is made of."""

    layers: list[_Layer]


def named_file(name: str, path: Path) -> Path | None:
    """The file that ``name`` stands for, the first one of a split model; None if it is no name of a GGUF model.

    ``path`` is ``name`` as a path.

    Raises:
        FastdraftError: it is a name of one, and it is not there or not the only one.
    """
    if name.startswith(OLLAMA):
        return _ollama_file(name)
    if path.is_dir() and not (path / "config.json").is_file():
        return _only_file(path)
    if path.is_file() and _begins_as_gguf(path):
        return parts(path)[0]
    if path.suffix.lower() == ".gguf" and not path.is_dir():
        if path.is_file():
            raise FastdraftError(f"{path} is no GGUF file: it does not begin with 'GGUF'. Copy or download it again.")
        raise FastdraftError(f"There is no file {path}.")
    return None


def files_in(folder: Path) -> list[Path]:
    """The GGUF models in ``folder`` itself: of a split one its first file; encoders of images are left out."""
    try:
        inside = sorted(path for path in folder.iterdir() if path.suffix.lower() == ".gguf" and path.is_file())
    except OSError:
        return []
    models = [path for path in inside if not is_later_part(path) and not path.name.lower().startswith(_PROJECTOR)]
    return models[:_MOST_FILES]


def ollama_models() -> list[tuple[str, Path]]:
    """What Ollama has: names as one types them here, its own library first, and their files."""
    found: dict[str, Path] = {}
    for home in _ollama_homes():
        for manifest in sorted(_walk(home / "manifests", 4)):
            name = OLLAMA + _ollama_name(manifest.relative_to(home / "manifests").parts)
            try:
                file = _ollama_file(name)
            except FastdraftError:
                continue
            found.setdefault(name, file)
    return sorted(found.items(), key=lambda item: (item[0].count("/"), item[0]))


def lm_studio_models() -> list[Path]:
    """The files that LM Studio has: ``publisher/model/file.gguf``."""
    homes = (Path("~/.lmstudio/models"), Path("~/.cache/lm-studio/models"))
    return [file for home in homes for file in below(home.expanduser(), 3)]


def llama_cpp_models() -> list[Path]:
    """The files in the cache of llama.cpp."""
    if told := os.environ.get("LLAMA_CACHE"):
        home = Path(told)
    elif sys.platform == "darwin":
        home = Path("~/Library/Caches/llama.cpp")
    elif sys.platform == "win32":
        home = Path(os.environ.get("LOCALAPPDATA") or "~/AppData/Local") / "llama.cpp"
    else:
        home = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "llama.cpp"
    return below(home.expanduser(), 1)


# --- Ollama ------------------------------------------------------------------------------------------


def _ollama_homes() -> list[Path]:
    """The user's own models, then those of the service that installers set up on Linux."""
    told = os.environ.get("OLLAMA_MODELS")
    return [Path(told)] if told else [Path("~/.ollama/models").expanduser(), Path("/usr/share/ollama/.ollama/models")]


def _ollama_file(name: str) -> Path:
    wanted = _ollama_parts(name)
    for home in _ollama_homes():
        manifest = home.joinpath("manifests", *wanted)
        if manifest.is_file():
            return _model_blob(name, home, manifest)
    here = ", ".join(found for found, _ in ollama_models()[:5])
    hint = f"It has {here}." if here else "Pull it with `ollama pull`."
    raise FastdraftError(f"Ollama has no model {name.removeprefix(OLLAMA)!r} here. {hint}")


def _ollama_parts(name: str) -> tuple[str, ...]:
    """Host, owner, model and tag: the folders of its manifest."""
    path, _, tag = name.removeprefix(OLLAMA).partition(":")
    steps = path.split("/")
    steps = [*(_REGISTRY, _LIBRARY)[: max(3 - len(steps), 0)], *steps, tag or _TAG]
    if len(steps) != 4 or not all(_SAFE.match(step) for step in steps):
        raise FastdraftError(f"{name!r} is no name of an Ollama model. Write for example {OLLAMA}llama3.2:3b.")
    return tuple(steps)


def _ollama_name(steps: tuple[str, ...]) -> str:
    """The shortest name of a manifest: what Ollama itself leaves out is left out."""
    host, owner, model, tag = steps
    before = "" if (host, owner) == (_REGISTRY, _LIBRARY) else f"{owner}/" if host == _REGISTRY else f"{host}/{owner}/"
    return f"{before}{model}:{tag}"


def _model_blob(name: str, home: Path, manifest: Path) -> Path:
    try:
        layers = msgspec.json.decode(manifest.read_bytes(), type=_Manifest).layers
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise FastdraftError(f"{manifest} is damaged ({error}). Pull {name.removeprefix(OLLAMA)} again.") from error
    kinds = {layer.media_type for layer in layers}
    model = next((layer for layer in layers if layer.media_type == _MODEL_LAYER and _DIGEST.match(layer.digest)), None)
    if model is None or _ADAPTER_LAYER in kinds:
        why = "has an adapter on top, which cannot be imported" if model else "has no model in it"
        raise FastdraftError(f"{name} {why}. Use another model.")
    blob = home / "blobs" / model.digest.replace(":", "-")
    if not blob.is_file():
        raise FastdraftError(f"{name} lacks its file {blob}. Pull it again.")
    return blob


# --- folders -----------------------------------------------------------------------------------------


def _only_file(folder: Path) -> Path | None:
    found = files_in(folder)
    if len(found) > 1:
        shown = ", ".join(file.name for file in found[:5])
        raise FastdraftError(f"{folder} holds {len(found)} GGUF models ({shown}). Give one of the files.")
    return found[0] if found else None


def _begins_as_gguf(path: Path) -> bool:
    try:
        with path.open("rb") as opened:
            return opened.read(4) == b"GGUF"
    except OSError:
        return False


def below(folder: Path, depth: int) -> list[Path]:
    """The GGUF models in ``folder`` and up to ``depth`` folders below it."""
    found = files_in(folder)
    if depth:
        for path in _folders(folder):
            found += below(path, depth - 1)
    return found


def _walk(folder: Path, depth: int) -> Iterator[Path]:
    """The files exactly ``depth`` levels below ``folder``."""
    try:
        inside = sorted(folder.iterdir())
    except OSError:
        return
    for path in inside:
        if depth > 1 and path.is_dir():
            yield from _walk(path, depth - 1)
        elif depth == 1 and path.is_file():
            yield path


def _folders(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))[
            :_MOST_FILES
        ]
    except OSError:
        return []
