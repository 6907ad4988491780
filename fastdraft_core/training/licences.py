"""What a trained model's card declares: whose licences it rests on, and whose draft it is. Nothing is declared that is not known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastdraft_core.models.catalog import hub_id, own_target
from fastdraft_core.text_sources import BUILT_IN, TARGET_SOURCE
from fastdraft_core.training.recipe import Recipe
from fastdraft_core.training.start import target_path

#: The hub's word for it.
UNKNOWN = "unknown"
#: Of the built-in sources: Python's own, and the licences of whatever is installed here.
_BUILT_IN = dict(zip(BUILT_IN, ("psf-2.0", UNKNOWN), strict=True))


def licences(recipe: Recipe) -> dict[str, str]:
    """The licence of all that the weights rest on, by its name: the target, a model they start from, each source of text."""
    found = {}
    if recipe.target is not None:
        found[shown_name(recipe.target)] = _of_model(recipe.target, Path(target_path(recipe)))
    if recipe.init is not None and recipe.init.model:
        found[shown_name(recipe.init.model)] = _of_model(recipe.init.model, Path(recipe.init.model))
    used = {name for stage in recipe.stages.values() for name in stage.sources}
    if TARGET_SOURCE in used and recipe.synthesis is not None:
        used |= {*recipe.synthesis.sources, *recipe.synthesis.instructions}
    for name in sorted(used - {TARGET_SOURCE}):
        source = recipe.sources.get(name)
        found[name] = (source.license if source else _BUILT_IN.get(name)) or UNKNOWN
    return found


def declared(found: dict[str, str]) -> str:
    """One licence of the hub's for all of these: theirs where they agree, ``other`` where not, ``unknown`` where one is."""
    different = set(found.values())
    if UNKNOWN in different or not different:
        return UNKNOWN
    return different.pop() if len(different) == 1 else "other"


def header(recipe: Recipe, found: dict[str, str]) -> str:
    """The card's header for the hub."""
    from huggingface_hub import CardData

    draft = recipe.target is not None
    data = CardData(
        license=declared(found),
        library_name="transformers",
        pipeline_tag="text-generation",
        base_model=hub_id(recipe.target) if recipe.target is not None else None,
        tags=["speculative-decoding", "fastdraft", *(["draft-model"] if draft else [])],
    )
    return f"---\n{data.to_yaml()}\n---\n"


def shown_name(name: str) -> str:
    """A model's name for others: where a folder lies on this machine is nobody's business."""
    return name if hub_id(name) or own_target(name) else Path(name).expanduser().resolve().name


def public_recipe(data: dict[str, Any]) -> dict[str, Any]:
    """A recipe's plain data with every folder and file by its name alone."""
    shown = dict(data)
    if "target" in data:
        shown["target"] = shown_name(data["target"])
    if "init" in data and "model" in data["init"]:
        shown["init"] = {**data["init"], "model": shown_name(data["init"]["model"])}
    if "sources" in data:
        shown["sources"] = {
            name: {**source, "path": Path(source["path"]).name} if "path" in source else source
            for name, source in data["sources"].items()
        }
    tasks = (str(task).partition("=") for task in data.get("decontaminate", ()))
    if "decontaminate" in data:
        shown["decontaminate"] = [f"{name}{mark}{Path(file).name}" for name, mark, file in tasks]
    return shown


def _of_model(name: str, folder: Path) -> str:
    """What the card beside a model's files says."""
    from huggingface_hub import RepoCard

    if own_target(name):
        return "apache-2.0"
    try:
        text = (folder / "README.md").read_text(encoding="utf-8", errors="replace")
        told = RepoCard(text, ignore_metadata_errors=True).data.to_dict().get("license")
    except (OSError, ValueError):
        return UNKNOWN
    return told if isinstance(told, str) and told else UNKNOWN
