"""The first layers of a model as a model folder: a changed configuration beside links to the same files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from fastdraft_core import places
from fastdraft_core.errors import FastdraftError
from fastdraft_core.files import building
from fastdraft_core.models.identity import source_key
from fastdraft_core.models.weights import has_source

#: Names of the number of layers, by architecture.
_COUNTS = ("num_hidden_layers", "n_layer", "num_layers", "n_layers")
#: What belongs to the whole model: its configuration, and its conversions.
_OWN = ("config.json", "openvino_*")


def first_layers(folder: Path, layers: int, name: str) -> Path:
    """A folder of the first ``layers`` of the model ``name`` in ``folder``, with its embeddings, last norm and head.

    It lies in the cache; its weights are links, of which a loader takes what the configuration names.

    Raises:
        FastdraftError: there are no weights that can be loaded in part, or not so many layers.
    """
    if not has_source(folder):
        raise FastdraftError(
            f"{name} is an OpenVINO model, of which no layers can be taken apart. Give the Hugging Face folder that it was made of."
        )
    config = _shortened(json.loads((folder / "config.json").read_text(encoding="utf-8")), layers, name)
    place = places.cache() / "layers" / f"{source_key(folder)}-{layers}"
    if place.is_dir():
        if all(file.exists() for file in place.iterdir()):
            return place
        # The target's folder was moved, and the links lead nowhere.
        shutil.rmtree(place)
    place.parent.mkdir(parents=True, exist_ok=True)
    with building(place, needed=0) as made:
        for file in folder.iterdir():
            if file.is_file() and not any(file.match(pattern) for pattern in _OWN):
                _link(made / file.name, file.resolve())
        (made / "config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")
    return place


def _shortened(config: dict[str, Any], layers: int, name: str) -> dict[str, Any]:
    """``config`` of so many layers; what it lists by layer is cut as well."""
    inner = config.get("text_config")
    part = inner if isinstance(inner, dict) else config
    key = next((key for key in _COUNTS if isinstance(part.get(key), int)), None)
    if key is None:
        raise FastdraftError(f"The configuration of {name} does not say how many layers it has, so it cannot be cut.")
    total: int = part[key]
    if layers >= total:
        raise FastdraftError(
            f"{name} has {total} layers, so its first {layers} are no smaller draft; give 1 to {total - 1}."
        )
    cut = {k: v[:layers] if isinstance(v, list) and len(v) == total else v for k, v in part.items()} | {key: layers}
    return config | {"text_config": cut} if part is inner else cut


def _link(place: Path, file: Path) -> None:
    try:
        place.symlink_to(file)
    except OSError:
        # Windows without the right to make links.
        shutil.copyfile(file, place)
