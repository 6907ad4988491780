"""The questions of the training wizard: pages, fields, and the words beside them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_type_hints

from fastdraft_core.training.recipe import Evaluation, ModelShape, Recipe, Stage, Synthesis

OWN = "own"
PRESETS = {
    "tiny": "demo-XS",
    "small": "demo-S",
    "medium": "demo-M",
    "50M": "phi3-mini-50m",
    "120M": "phi4-mini-120m",
    "150M": "llama3.1-150m",
}
"""Shapes of drafts by the bundled recipe that has them."""
DEVICES = ("best", "cpu", "cuda", "xpu", "hpu")
DEVICE, PRESET = "device", "preset"
SECTIONS: dict[str, type] = {
    "model": ModelShape,
    "synthesis": Synthesis,
    "pt": Stage,
    "cp": Stage,
    "ft": Stage,
    "evaluation": Evaluation,
}

Kind = Literal["text", "count", "whole", "number", "numbers", "mixture", "flag", "choice"]


@dataclass(frozen=True)
class Field:
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
    PRESET: "A shape that is known to work; own: as the fields below say.",
    # In a recipe these may also be tokens, which add up to the stage's; here those have a field of their own.
    **dict.fromkeys(("pt.sources", "cp.sources"), "Sources with weights; 'target' is what the target wrote."),
}


@dataclass(frozen=True)
class Step:
    """A page of the wizard."""

    title: str
    about: str
    fields: tuple[Field, ...] = ()


def _stage(name: str, *more: Field) -> tuple[Field, ...]:
    return (
        Field(f"{name}.tokens", "count"),
        Field(f"{name}.sources", "mixture"),
        *more,
        Field(f"{name}.learning_rate", "number", optional=True),
        Field(f"{name}.sequence_length", "whole"),
        Field(f"{name}.batch_tokens", "whole"),
        Field(f"{name}.skip", "flag", name="leave out"),
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
    Step("Target", "Which model shall become faster?", (Field("target", "text"),)),
    Step("Device", "Where shall it be trained?", (Field(DEVICE, "choice", DEVICES),)),
    Step(
        "Draft",
        "How large shall the draft be? Depth costs time, width costs little.",
        (
            Field(PRESET, "choice", (*PRESETS, OWN)),
            *(Field(f"model.{name}", "whole", stops=stops) for name, stops in _STOPS.items()),
            Field("model.tie_embeddings", "flag"),
        ),
    ),
    Step("PT data", "Pre-training: plain English text.", _stage("pt")),
    Step("CP mixture", "Continued pre-training: code, with text replayed so that it is not forgotten.", _stage("cp")),
    Step(
        "FT",
        "Fine-tuning on what the target itself writes: the draft learns its manner.",
        (
            Field("synthesis.tokens", "count", name="target writes"),
            Field("synthesis.sources", "mixture", optional=True, name="prefixes of"),
            Field("synthesis.instructions", "mixture", optional=True, name="instructions of"),
            Field("synthesis.magpie", "number", name="Magpie"),
            Field("synthesis.temperatures", "numbers"),
            Field("synthesis.new_tokens", "whole", name="tokens a prompt"),
            Field("ft.tokens", "count", name="training tokens"),
            Field("ft.loss", "choice", ("ce", "ce+kl", "ce+tvd", "kl", "tvd")),
            Field("ft.learning_rate", "number", optional=True),
            Field("ft.skip", "flag", name="leave out"),
        ),
    ),
    Step(
        "Schedule",
        "Names, places, and how often to save.",
        (
            Field("name", "text"),
            Field("checkpoint_minutes", "number", name="save every, min"),
            Field("evaluation.gamma", "whole", name="judged at gamma"),
            Field("evaluation.temperature", "number", name="judged at T"),
            Field("evaluation.prompts", "whole", name="judged by prompts"),
            Field("seed", "whole"),
            Field("compile", "flag"),
        ),
    ),
    Step("Review", "What will happen. Enter launches the job; it goes on when the app is closed."),
)
FIELDS = {field.path: field for step in STEPS for field in step.fields}
