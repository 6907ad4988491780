"""The training wizard without its screen: what was answered, and the recipe that follows from it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path

import msgspec

from fastdraft_app.wizard.proposal import Proposal
from fastdraft_app.wizard.questions import (
    DEVICE,
    DEVICES,
    OWN,
    PRESET,
    PRESETS,
    PURPOSE,
    PURPOSES,
    QUESTIONS,
    STEPS,
    TASTE,
    TIME,
    UNWRITTEN,
    Question,
    RecipeData,
    Step,
    get_value,
    parse_answer,
    set_value,
    write_answer,
)
from fastdraft_core import places
from fastdraft_core.design.shapes import parameters_of
from fastdraft_core.errors import FastdraftError
from fastdraft_core.events import DesignShape
from fastdraft_core.files import write_atomic
from fastdraft_core.models.catalog import DEMO, resolve
from fastdraft_core.models.weights import is_ir_alone
from fastdraft_core.training.recipe import STAGES, ModelShape, Recipe, dump_recipe, load_recipe, parse_recipe

FIRST_RECIPE = "demo-tiny"
FIRST_NAME = "my-draft"
_TRUST = "trust_remote_code"


class Answers:
    """A recipe as it is being edited: what it is based on, and what was typed over it, be it wrong."""

    def __init__(self, base: RecipeData, typed: Mapping[str, str] | None = None) -> None:
        self.base = base
        self.typed: dict[str, str] = dict(typed or {})
        self.why: dict[str, str] = {}
        """Where a value comes from that nobody typed, by the path of its question."""
        self.proposed: tuple[str, ...] = ()
        """The target, time and purpose that the values follow from."""
        self.touched = True
        """Whether anybody has answered anything."""

    @classmethod
    def fresh(cls, target: str = DEMO) -> Answers:
        """The answers that work without a change: a taste of the bundled target, and of another one what fits an hour."""
        answers = cls.of(load_recipe(FIRST_RECIPE), FIRST_NAME)
        answers.touched = False
        answers.typed[TIME] = TASTE if target == DEMO else "an hour"
        if target == DEMO:
            answers.proposed = answers.asked
        else:
            answers.typed["target"] = target
        return answers

    @property
    def asked(self) -> tuple[str, ...]:
        """Target, time and purpose as they are answered."""
        return tuple(self.text(QUESTIONS[path]).strip() for path in ("target", TIME, PURPOSE))

    @property
    def wants_proposal(self) -> bool:
        """Whether shape, budgets and sources are still those of another target, time or purpose."""
        return self.text(QUESTIONS[TIME]) != OWN and self.asked != self.proposed

    def take(self, proposal: Proposal) -> None:
        """Have all pages say what follows from target, time and purpose, in place of what was typed there."""
        self.proposed = self.asked
        self.base = proposal.recipe
        replaced = ("target", PRESET, "model.", "synthesis.", *(f"{stage}." for stage in STAGES))
        self.typed = {path: text for path, text in self.typed.items() if not path.startswith(replaced)}
        self.why = dict(proposal.why)

    @classmethod
    def of(cls, recipe: Recipe, name: str = "") -> Answers:
        """The answers that give ``recipe``, under a name that no job has yet; a stage that it lacks is left out."""
        base = {**dump_recipe(recipe), "name": free_name(name or recipe.name)}
        usual = dump_recipe(load_recipe(FIRST_RECIPE))
        missing = {stage: {**usual[stage], "skip": True} for stage in STAGES if stage not in base}
        return cls({"synthesis": usual["synthesis"], **missing, **base}, {})

    def text(self, question: Question) -> str:
        """What stands in the field."""
        if question.path in self.typed:
            return self.typed[question.path]
        if question.path == PRESET:
            return self._preset()
        usual = {DEVICE: DEVICES[0], TIME: OWN, PURPOSE: PURPOSES[0]}
        if question.path in usual:
            return usual[question.path]
        return write_answer(get_value(self.base, question.path), question)

    def whole(self, question: Question) -> int:
        """The whole number that stands in the field.

        Raises:
            ValueError: there is none; the message is a sentence.
        """
        number = parse_answer(self.text(question), question)
        assert isinstance(number, int)
        return number

    def set(self, question: Question, text: str) -> None:
        """Somebody typed or chose this."""
        if question.path == "target" and text != self.text(question):
            # Trust was given to another model's code.
            self.typed[_TRUST] = "no"
        self.typed[question.path] = text
        self.touched = True
        self.why.pop(question.path, None)
        if question.path == PRESET and text in PRESETS:
            shape = msgspec.to_builtins(_preset_shape(text))
            self.typed |= {
                path: write_answer(shape[path.removeprefix("model.")], one)
                for path, one in QUESTIONS.items()
                if path.startswith("model.")
            }
        elif question.path.startswith("model."):
            self.typed.pop(PRESET, None)

    def take_shape(self, shape: DesignShape) -> None:
        """The draft is to have a shape that was measured."""
        found = {
            "hidden_size": shape.width,
            "num_layers": shape.layers,
            "num_heads": shape.heads,
            "num_kv_heads": shape.kv_heads,
            "intermediate_size": shape.intermediate,
        }
        for key, value in found.items():
            self.set(QUESTIONS[f"model.{key}"], str(value))
        self.set(QUESTIONS["model.draft_vocab"], str(shape.draft_vocab or ""))

    @property
    def device(self) -> str:
        """As ``--device`` takes it."""
        chosen = self.text(QUESTIONS[DEVICE])
        return "" if chosen == DEVICES[0] else chosen

    def problem(self, question: Question) -> str:
        """What is wrong with the field, alone or beside the others, in a sentence; empty if nothing."""
        return self._own_problem(question) or (told if _is_about(told := self._misfit(), question) else "")

    def _own_problem(self, question: Question) -> str:
        try:
            parse_answer(self.text(question), question)
            _RULES.get(question.path, _no_rule)(self)
        except FastdraftError as error:
            return error.message
        except ValueError as error:
            return str(error)
        except OSError as error:
            return f"This cannot be looked at ({error.strerror or error})."
        return ""

    def whole_problem(self, step: Step) -> str:
        """What does not fit together in the recipe as a whole; nothing while a field of the page itself is wrong."""
        return "" if self.problems(step) else self._misfit()

    def _misfit(self) -> str:
        """The first thing that does not fit together; nothing while any field alone is wrong, which says so itself."""
        try:
            data = self._data()
        except (FastdraftError, ValueError):
            return ""
        try:
            parse_recipe(data, "")
        except FastdraftError as error:
            return error.message.removeprefix(": ")
        return ""

    def problems(self, step: Step) -> list[str]:
        """What is wrong on a page."""
        return [f"{question.label}: {told}" for question in step.questions if (told := self.problem(question))]

    def recipe(self) -> Recipe:
        """The recipe.

        Raises:
            FastdraftError: a field, or the whole, makes no sense; the message says where.
        """
        wrong = [told for step in STEPS for told in self.problems(step)]
        if wrong:
            raise FastdraftError(f"{wrong[0].rstrip('.')}.")
        return parse_recipe(self._data(), "The recipe")

    def shape(self) -> ModelShape | None:
        """The draft's shape, where it makes sense."""
        with suppress(FastdraftError, ValueError, msgspec.ValidationError):
            return msgspec.convert(self._data()["model"], ModelShape)
        return None

    def _data(self) -> RecipeData:
        data = copy.deepcopy(self.base)
        for path, text in self.typed.items():
            if path not in UNWRITTEN and path in QUESTIONS:
                set_value(data, path, parse_answer(text, QUESTIONS[path]))
        if not (data.get("init") or {}).get("method"):
            data.pop("init", None)
        written = data.get("synthesis") or {}
        # Shares belong to temperatures that there are no more.
        if len(written.get("shares") or ()) != len(written.get("temperatures") or ()):
            written.pop("shares", None)
        return data

    def _preset(self) -> str:
        shape = self.shape()
        return next((name for name in PRESETS if _preset_shape(name) == shape), OWN)

    # --- kept over sessions -------------------------------------------------------------------

    def keep(self) -> None:
        """Write the answers down; where that fails, the session goes on without."""
        with suppress(OSError):
            write_atomic(_place(), msgspec.json.encode(self._kept_data()))

    def _kept_data(self) -> dict[str, object]:
        more = {"why": self.why, "proposed": self.proposed, "touched": self.touched}
        return {"base": self.base, "typed": self.typed, **more}

    @classmethod
    def kept(cls, target: str = DEMO) -> Answers:
        """The answers of last time; fresh ones for ``target`` where nobody answered anything, or they are damaged."""
        try:
            data = msgspec.json.decode(_place().read_bytes())
            typed = {path: text for path, text in data["typed"].items() if path in QUESTIONS and isinstance(text, str)}
            parse_recipe(data["base"], "The answers")
            answers = cls(data["base"], typed)
            answers.why = msgspec.convert(data.get("why", {}), dict[str, str])
            answers.proposed = msgspec.convert(data.get("proposed", ()), tuple[str, ...])
            return answers if data.get("touched", True) else cls.fresh(target)
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError, FastdraftError, KeyError, TypeError, AttributeError):
            return cls.fresh(target)

    @staticmethod
    def forget() -> None:
        """Begin anew next time."""
        with suppress(OSError):
            _place().unlink()


def free_name(name: str) -> str:
    """``name``, with a number where a job is called so already."""
    taken, number, found = places.jobs(), 1, name
    while (taken / found).exists():
        number += 1
        found = f"{name}-{number}"
    return found


@cache
def _preset_shape(name: str) -> ModelShape:
    """The shape that the bundled recipe of a preset has."""
    return load_recipe(PRESETS[name]).model


def parameters(shape: ModelShape, vocab_size: int) -> int:
    """Weights of a Llama-like model of this shape."""
    return parameters_of(
        layers=shape.num_layers,
        width=shape.hidden_size,
        heads=shape.num_heads,
        kv_heads=shape.num_kv_heads,
        intermediate=shape.intermediate_size,
        vocabulary=vocab_size,
        tie=shape.tie_embeddings,
    )


def _is_about(told: str, question: Question) -> bool:
    """Whether a rule of the recipe names the question first: there it can be mended. A stage stands for its sources."""
    section, _, key = question.path.rpartition(".")
    named = (f"{question.path} ", *([f"{section} uses the source "] if key == "sources" else []))
    return told.startswith(named)


def _no_rule(answers: Answers) -> None:
    del answers


def _check_target(answers: Answers) -> None:
    folder = Path(resolve(answers.text(QUESTIONS["target"]).strip()))
    if is_ir_alone(folder):
        raise ValueError(
            "This is an OpenVINO IR, and no draft can be trained for one: give the model that it was made of."
        )


def _check_name(answers: Answers) -> None:
    name = answers.text(QUESTIONS["name"]).strip()
    if (places.jobs() / name).exists():
        raise ValueError(f"There is a job {name!r} already; take another name, such as {free_name(name)}.")


def _check_init_model(answers: Answers) -> None:
    method, model = answers.text(QUESTIONS["init.method"]), answers.text(QUESTIONS["init.model"]).strip()
    needs = method in ("pruned", "transplant")
    if needs and not model:
        raise ValueError(f"{method} starts from another model: name its folder or hub id.")
    if model and not needs:
        raise ValueError(f"{method} takes no other model; leave this empty.")


def _divides(outer: str, inner: str) -> Callable[[Answers], None]:
    def check(answers: Answers) -> None:
        whole, part = (answers.whole(QUESTIONS[f"model.{name}"]) for name in (outer, inner))
        if whole % part:
            raise ValueError(f"{outer} {whole} must be a multiple of {inner} {part}.")

    return check


_RULES: dict[str, Callable[[Answers], None]] = {
    "target": _check_target,
    "name": _check_name,
    "init.model": _check_init_model,
    "model.num_heads": _divides("hidden_size", "num_heads"),
    "model.num_kv_heads": _divides("num_heads", "num_kv_heads"),
}


def _place() -> Path:
    return places.config() / "wizard.json"
