"""Sources that the wizard adds to its recipe: own files, folders, and data sets of the hub."""

from __future__ import annotations

import copy
import re
from pathlib import Path

import msgspec

from fastdraft_app.dialogs.choices import Choice, ChoiceGroup, Source, file_source
from fastdraft_app.wizard.answers import Answers
from fastdraft_app.wizard.questions import QUESTIONS, RecipeData
from fastdraft_core.errors import FastdraftError
from fastdraft_core.text_sources import BUILT_IN, TARGET_SOURCE, TextSource
from fastdraft_core.training.recipe import STAGES, Recipe, parse_recipe

INSTRUCTIONS = "synthesis.instructions"
MIXTURES = {"PT data": ("pt.sources",), "CP mixture": ("cp.sources",), "FT": ("synthesis.sources", INSTRUCTIONS)}
"""The mixtures that a page asks for, by its title."""
_HUB_ID = re.compile(r"[\w-]+|\w[\w.-]*/[\w.-]+")
_FILES = (".txt", ".md", ".rst", ".py", ".json", ".jsonl", ".gz", ".parquet")
"""Endings that no data set is called by."""


def described(answers: Answers) -> dict[str, TextSource]:
    """The sources that the recipe describes, by name."""
    return {
        name: msgspec.convert(data, TextSource) for name, data in sorted((answers.base.get("sources") or {}).items())
    }


def origin(source: TextSource) -> str:
    """Where a source comes from, in a line."""
    parts = [source.path or f"data set {source.hub}", source.config or ""]
    parts += [f"field {source.field}"] if source.field != TextSource().field else []
    return ", ".join(part for part in parts if part)


def read_place(typed: str) -> dict[str, str | None]:
    """``path`` and ``hub`` of a source, of which what was typed is one: an existing path wins over a hub id."""
    typed = typed.strip()
    if not typed:
        return {"path": "", "hub": None}
    try:
        path = Path(typed).expanduser()
        local = path.exists() or typed.endswith(_FILES) or not _HUB_ID.fullmatch(typed)
        return {"path": str(path.absolute()), "hub": None} if local else {"path": None, "hub": typed}
    except (OSError, RuntimeError, ValueError):
        return {"path": typed, "hub": None}


def free_source_name(typed: str, answers: Answers) -> str:
    """A name for the source at ``typed``: its last part, made fit for a recipe, with a number where it is taken."""
    last = Path(typed.strip()).name
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", last.partition(".")[0] or last).strip("-_") or "source"
    taken, number, found = {*BUILT_IN, TARGET_SOURCE, *(answers.base.get("sources") or {})}, 1, name
    while found in taken:
        number += 1
        found = f"{name}-{number}"
    return found


def tried(answers: Answers, name: str, source: TextSource, *, instructions: bool) -> Recipe:
    """The recipe with this source, right or wrong as a page may be: for a look at the source alone.

    Raises:
        FastdraftError: the name or the section will not do.
    """
    data = copy.deepcopy(answers.base)
    data.setdefault("sources", {})[name] = _section(source)
    kinds = ("instructions", "sources") if instructions else ("sources", "instructions")
    data["synthesis"] |= {kinds[0]: {name: 1.0}, kinds[1]: {}}
    # The files of other looks are called after the job.
    data["name"] = "source"
    try:
        return parse_recipe(data, "")
    except FastdraftError as error:
        raise FastdraftError(error.message.removeprefix(": ")) from error


def put(answers: Answers, name: str, source: TextSource, path: str) -> None:
    """Describe the source, and mix it in at ``path`` by the mean of the weights there, unless it is there already."""
    answers.base.setdefault("sources", {})[name] = _section(source)
    for others in MIXTURES.values():
        if path in others:
            for other in set(others) - {path}:
                _mix_out(answers, name, other)
    parts = _parts(answers.text(QUESTIONS[path]))
    if name not in map(_name, parts):
        answers.set(QUESTIONS[path], ", ".join([*parts, f"{name}={_mean(parts):.3g}"]))


def take_off(answers: Answers, name: str) -> None:
    """Forget the source; where no other one is left, a stage gets back those of the usual recipe."""
    answers.base["sources"].pop(name)
    for path in [path for paths in MIXTURES.values() for path in paths]:
        _mix_out(answers, name, path)
    usual = Answers.fresh().base
    for section in (*STAGES, "synthesis"):
        mixture = answers.base[section].get("sources") or {}
        if mixture.pop(name, None) is not None and not mixture:
            answers.base[section]["sources"] = usual[section]["sources"]
    (answers.base["synthesis"].get("instructions") or {}).pop(name, None)


def source_choices(answers: Answers) -> Source:
    """What a picker offers: the recipe's own sources, the path or data set typed, and files and folders on the way."""
    known = [Choice(name, name, origin(source)) for name, source in described(answers).items()]

    def choices(typed: str) -> list[ChoiceGroup]:
        typed = typed.strip()
        groups = [ChoiceGroup("of this recipe", [row for row in known if typed in row.title])]
        if not typed:
            return [*groups, *file_source("~/")]
        return [*groups, *_as_typed(typed), *file_source(typed)]

    return choices


def _as_typed(typed: str) -> list[ChoiceGroup]:
    place = read_place(typed)
    if place["hub"]:
        return [ChoiceGroup("as typed", [Choice(typed, typed, "data set of the hub")])]
    if place["path"] and Path(place["path"]).is_dir():
        return [ChoiceGroup("this folder", [Choice(typed, typed, "all that is in it")])]
    return []


def _section(source: TextSource) -> RecipeData:
    """The section of the recipe, without what is usual."""
    usual = msgspec.to_builtins(TextSource())
    return {key: value for key, value in msgspec.to_builtins(source).items() if value != usual[key]}


def _mix_out(answers: Answers, name: str, path: str) -> None:
    question = QUESTIONS[path]
    parts = _parts(answers.text(question))
    left = [part for part in parts if _name(part) != name]
    if left == parts:
        return
    if left or path == INSTRUCTIONS:
        answers.set(question, ", ".join(left))
    else:
        answers.typed.pop(path, None)


def _parts(mixture: str) -> list[str]:
    """What stands between the commas, also where it makes no sense."""
    return [part.strip() for part in mixture.split(",") if part.strip()]


def _name(part: str) -> str:
    return part.partition("=")[0].strip()


def _mean(parts: list[str]) -> float:
    """The mean of the weights that can be read; 1 where none can."""
    weights = []
    for part in parts:
        try:
            weights.append(float(part.partition("=")[2]))
        except ValueError:
            continue
    usable = [weight for weight in weights if 0 < weight < float("inf")]
    return sum(usable) / len(usable) if usable else 1.0
