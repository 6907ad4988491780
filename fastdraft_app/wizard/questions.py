"""The questions of the training wizard: pages, the words beside a field, and how its text becomes a value of the recipe."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, cast, get_type_hints

import msgspec

from fastdraft_core.training.recipe import Evaluation, Init, ModelShape, Recipe, Stage, Synthesis, parse_count

OWN = "own"
PRESETS = {
    "tiny": "demo-XS",
    "small": "demo-S",
    "medium": "demo-M",
    "50M": "phi3-mini-50m",
    "120M": "phi4-mini-120m",
    "150M": "llama3.1-150m",
    "SmolLM2 S": "smollm2-S",
    "SmolLM2 M": "smollm2-M",
}
"""Shapes of drafts by the bundled recipe that has them."""
DEVICES = ("best", "cpu", "cuda", "xpu", "hpu")
DEVICE, PRESET = "device", "preset"
NOTHING = "nothing"
"""The choice of an optional question that leaves its key out of the recipe."""
TIME, PURPOSE = "time", "purpose"
TASTE, PAPER = "a taste", "the paper's budget"
TIMES = (OWN, TASTE, "an hour", "a night", PAPER)
PURPOSES = ("all", "code", "chat", "summaries")
UNWRITTEN = (DEVICE, PRESET, TIME, PURPOSE)
"""Questions whose answer is no value of the recipe itself."""
SECTIONS: dict[str, type] = {
    "model": ModelShape,
    "init": Init,
    "synthesis": Synthesis,
    "pt": Stage,
    "cp": Stage,
    "ft": Stage,
    "evaluation": Evaluation,
}

Kind = Literal["text", "count", "whole", "number", "numbers", "mixture", "flag", "choice"]


@dataclass(frozen=True)
class Question:
    """One question. ``path`` is its place in the recipe, such as ``pt.tokens``.

    ``choices`` belong to the kind choice; a whole number with ``stops`` is also a slider.
    """

    path: str
    kind: Kind
    choices: tuple[str, ...] = ()
    optional: bool = False
    name: str = ""
    stops: tuple[int, ...] = ()

    @property
    def label(self) -> str:
        """Its name on screen."""
        return self.name or self.path.rpartition(".")[2].replace("_", " ")

    @property
    def about(self) -> str:
        """The recipe's own description."""
        if self.path in _OTHERS:
            return _OTHERS[self.path]
        section, _, key = self.path.rpartition(".")
        hint = get_type_hints(SECTIONS.get(section, Recipe), include_extras=True)[key]
        return str(hint.__metadata__[0].description)


_OTHERS = {
    DEVICE: "What trains; best is the best one here. Each device runs one job, others wait their turn.",
    TIME: "Shape, head, budgets and sources follow from it, and stay editable; own: as the pages say.",
    PURPOSE: "What the draft shall be good at: what it reads, and what the target writes for it.",
    PRESET: "A shape that is known to work; own: as the fields below say.",
    # In a recipe these may also be tokens, which add up to the stage's; here those have a field of their own.
    **dict.fromkeys(("pt.sources", "cp.sources"), "Sources with weights; 'target' is what the target wrote."),
}


@dataclass(frozen=True)
class Step:
    """A page of the wizard."""

    title: str
    about: str
    questions: tuple[Question, ...] = ()


def _stage(name: str, *more: Question) -> tuple[Question, ...]:
    return (
        Question(f"{name}.tokens", "count"),
        Question(f"{name}.sources", "mixture"),
        *more,
        Question(f"{name}.learning_rate", "number", optional=True),
        Question(f"{name}.sequence_length", "whole"),
        Question(f"{name}.batch_tokens", "whole"),
        Question(f"{name}.skip", "flag", name="leave out"),
    )


_WIDTHS = (64, 96, 128, 192, 256, 320, 384, 512, 640, 768, 1024, 1280, 1536, 2048, 2560, 3072, 4096)
_STOPS = {
    "hidden_size": _WIDTHS,
    "num_layers": (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 16, 20, 24, 28, 32),
    "num_heads": (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32),
    "num_kv_heads": (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32),
    # 8/3 of the width, in whole multiples of 32: a gated network of this width costs what a plain one of 4 widths does.
    "intermediate_size": tuple(round(8 * width / 3 / 32) * 32 for width in _WIDTHS),
    "context_length": (128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768),
}
"""Where the sliders of the draft's shape stop."""

STEPS = (
    Step(
        "Target",
        "Which model shall become faster, how long may it take, and what is it used for?",
        (
            Question("target", "text"),
            Question("trust_remote_code", "flag", name="trust its code"),
            Question(TIME, "choice", TIMES, name="how long"),
            Question(PURPOSE, "choice", PURPOSES, name="what for"),
        ),
    ),
    Step("Device", "Where shall it be trained?", (Question(DEVICE, "choice", DEVICES),)),
    Step(
        "Draft",
        "How large shall the draft be? Depth costs time, width costs little.",
        (
            Question(PRESET, "choice", (*PRESETS, OWN)),
            *(Question(f"model.{name}", "whole", stops=stops) for name, stops in _STOPS.items()),
            Question("model.draft_vocab", "whole", optional=True),
            Question("model.tie_embeddings", "flag"),
            Question(
                "init.method",
                "choice",
                (NOTHING, "pruned", "transplant", "projected"),
                optional=True,
                name="start from",
            ),
            Question("init.model", "text", optional=True, name="model to start from"),
        ),
    ),
    Step("PT data", "Pre-training: plain English text.", _stage("pt")),
    Step("CP mixture", "Continued pre-training: code, with text replayed so that it is not forgotten.", _stage("cp")),
    Step(
        "FT",
        "Fine-tuning on what the target itself writes: the draft learns its manner.",
        (
            Question("synthesis.tokens", "count", name="target writes"),
            Question("synthesis.sources", "mixture", optional=True, name="prefixes of"),
            Question("synthesis.instructions", "mixture", optional=True, name="instructions of"),
            Question("synthesis.magpie", "number", name="Magpie"),
            Question("synthesis.temperatures", "numbers"),
            Question("synthesis.new_tokens", "whole", name="tokens a prompt"),
            Question("ft.tokens", "count", name="training tokens"),
            Question("ft.loss", "choice", ("ce", "ce+kl", "ce+tvd", "kl", "tvd")),
            Question("ft.learning_rate", "number", optional=True),
            Question("ft.skip", "flag", name="leave out"),
        ),
    ),
    Step(
        "Schedule",
        "Names, places, and how often to save.",
        (
            Question("name", "text"),
            Question("checkpoint_minutes", "number", name="save every, min"),
            Question("evaluation.gamma", "whole", name="judged at gamma"),
            Question("evaluation.temperature", "number", name="judged at T"),
            Question("evaluation.prompts", "whole", name="judged by prompts"),
            Question("seed", "whole"),
            Question("compile", "flag"),
        ),
    ),
    Step("Review", "What will happen. Enter launches the job; it goes on when the app is closed."),
)
QUESTIONS = {question.path: question for step in STEPS for question in step.questions}

_MOST_DIGITS = 10
"""Digits of a whole number: no width, seed or batch has more."""


RecipeData = dict[str, Any]
"""A recipe as TOML has it, section by section."""
Answer = bool | int | float | str | list[float] | tuple[float, ...] | dict[str, float] | None
"""The value of the recipe that an answer means."""


def get_value(data: RecipeData, path: str) -> Answer:
    """The value in the recipe, or the default of its section; None where there is neither."""
    section, _, key = path.rpartition(".")
    found: Answer = (data.get(section) or {} if section else data).get(key)
    if found is None:
        for one in msgspec.structs.fields(SECTIONS.get(section, Recipe)):
            if one.name == key and one.default is not msgspec.NODEFAULT:
                return cast(Answer, one.default)
    return found


def set_value(data: RecipeData, path: str, value: Answer) -> None:
    """Put the value into the recipe; None takes it out."""
    section, _, key = path.rpartition(".")
    holder = data.setdefault(section, {}) if section else data
    if value is None:
        holder.pop(key, None)
    else:
        holder[key] = value


def write_answer(value: Answer, question: Question) -> str:
    """``value`` as one would type it."""
    match value:
        case None:
            return NOTHING if NOTHING in question.choices else ""
        case bool():
            return "yes" if value else "no"
        case dict():
            return ", ".join(f"{name}={weight:g}" for name, weight in value.items())
        case list() | tuple():
            return ", ".join(f"{number:g}" for number in value)
        case float():
            return f"{value:g}"
        case _:
            return write_count(value) if question.kind == "count" else str(value)


def write_count(value: int | str) -> str:
    """A number of tokens as one would type it: 2M, 120K."""
    if isinstance(value, str):
        return value
    for size, letter in ((10**9, "B"), (10**6, "M"), (10**3, "K")):
        if value >= size and value * 100 % size == 0:
            return f"{value / size:g}{letter}"
    return str(value)


def parse_answer(text: str, question: Question) -> Answer:
    """The value that ``text`` means, checked as the recipe checks it.

    Raises:
        ValueError: it means nothing here; the message is a sentence.
        FastdraftError: as ValueError.
    """
    text = text.strip()
    if not text:
        if question.optional:
            return None
        raise ValueError("This must not be empty.")
    if question.path in UNWRITTEN:
        return text
    if question.optional and text == NOTHING:
        return None
    value = _READERS[question.kind](text)
    if question.kind == "count":
        parse_count(text)
    section, _, key = question.path.rpartition(".")
    hint = get_type_hints(SECTIONS.get(section, Recipe), include_extras=True)[key]
    try:
        msgspec.convert(value, hint)
    except msgspec.ValidationError as error:
        raise ValueError(f"{text!r} will not do: {str(error).partition(' - at')[0].replace('`', '')}.") from None
    return value


def _whole(text: str) -> int:
    digits = text.replace(",", "").replace("_", "")
    if len(digits) > _MOST_DIGITS:
        raise ValueError("This number is too large.")
    try:
        return int(digits)
    except ValueError:
        raise ValueError(f"{text!r} is not a whole number.") from None


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a number.") from None
    if not math.isfinite(value):
        raise ValueError(f"{text!r} is not a number that can be used.")
    return value


def _flag(text: str) -> bool:
    if text not in ("yes", "no"):
        raise ValueError(f"{text!r} is neither yes nor no.")
    return text == "yes"


def _mixture(text: str) -> dict[str, float]:
    found = {}
    for part in text.split(","):
        name, sign, weight = part.partition("=")
        if not (name.strip() and sign):
            raise ValueError(f"{part.strip()!r} is no source with a weight; write for example code=0.65, text=0.35.")
        if name.strip() in found:
            raise ValueError(f"{name.strip()} is there twice.")
        found[name.strip()] = _number(weight.strip())
        if found[name.strip()] <= 0:
            raise ValueError(f"The weight of {name.strip()} must be above 0.")
    return found


_READERS: dict[Kind, Callable[[str], Answer]] = {
    "text": str,
    "count": str,
    "whole": _whole,
    "number": _number,
    "numbers": lambda text: [_number(part.strip()) for part in text.split(",")],
    "mixture": _mixture,
    "flag": _flag,
    "choice": str,
}
