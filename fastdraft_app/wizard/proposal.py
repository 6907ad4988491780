"""What a training should be, from how long it may take and what the draft is for: shape, budgets and sources, and why.

Every value follows from rates that were measured on two cores of a Xeon and are scaled here; the plan of the last page measures
this machine itself.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field

import msgspec

from fastdraft_app.wizard.questions import PAPER, PURPOSES, TASTE, RecipeData, write_count
from fastdraft_core.machine import limits
from fastdraft_core.training.recipe import STAGES, ModelShape, Recipe, dump_recipe, load_recipe

#: The recipe whose shape and steps a time is spent with.
_RECIPES = {TASTE: "demo-tiny", "an hour": "smollm2-M", "a night": "smollm2-M", PAPER: "phi3-mini-50m"}
_SECONDS = {TASTE: 300.0, "an hour": 3600.0, "a night": 8 * 3600.0}
#: Of the time: tokenizing and judging take the rest.
_USED = 0.85
#: The target's words are the bottleneck, so writing gets half; more than four passes over them and a draft learns them by heart.
_WRITING, _PASSES, _PT_SHARE = 0.5, 4, 0.45
#: Measured on two cores of a Xeon: a draft of 0.8 M weights in its layer and 2.1 M in its head read 8,100 tokens/s, and
#: SmolLM2-135M-Instruct wrote 200 tokens/s. Times the weights, for other sizes.
_TRAINING_RATE, _WRITING_RATE, _CORES = 8_100 * 2.9e6, 200 * 134.5e6, 2
#: A head over all of a smaller vocabulary costs little.
_LARGE_VOCABULARY = 16_384
_SHORTLIST = {TASTE: 4096, "an hour": 8192, "a night": 8192}
#: Larger targets are not loaded for their embeddings.
_PROJECTED_BELOW = 1e9
#: Weights of text and code by purpose, and of what a chat target invents itself.
_MIXTURES = {"all": (0.35, 0.65), "code": (0.15, 0.85), "chat": (0.7, 0.3), "summaries": (0.85, 0.15)}
_MAGPIE = {"all": 0.4, "code": 0.3, "chat": 0.7, "summaries": 0.3}
assert set(_MIXTURES) == set(_MAGPIE) == set(PURPOSES)


@dataclass(frozen=True)
class Measures:
    """What is known of a target: its name and vocabulary, and, 0 where it is not known, parameters and context."""

    name: str
    vocabulary: int
    parameters: float
    context: int
    chat: bool


@dataclass(frozen=True)
class Proposal:
    """A recipe, and by the path of a question where its value comes from."""

    recipe: RecipeData
    why: dict[str, str] = field(default_factory=dict)


def propose(base: RecipeData, target: Measures, time: str, purpose: str) -> Proposal:
    """The recipe for ``target`` that takes about this ``time``, on the name and sources of ``base``."""
    model = load_recipe(_RECIPES[time])
    shape = _shape(model.model, target, time)
    recipe = {**base, "target": target.name, "model": msgspec.to_builtins(shape)}
    recipe.pop("init", None)
    why = dict.fromkeys(("preset", *(f"model.{name}" for name in recipe["model"])), f"Of {_RECIPES[time]}, for {time}.")
    if shape.draft_vocab is not None:
        why["model.draft_vocab"] = f"Of {target.vocabulary:,}: 8,192 of SmolLM2's hold 95 % of what it writes."
    if time in ("an hour", "a night") and shape.draft_vocab is not None and 0 < target.parameters < _PROJECTED_BELOW:
        recipe["init"] = {"method": "projected"}
    _set_stages(recipe, model, target)
    _set_sources(recipe, why, target, purpose)
    _set_budgets(recipe, why, target, time, shape)
    return Proposal(recipe, why)


def _shape(shape: ModelShape, target: Measures, time: str) -> ModelShape:
    context = min(shape.context_length, target.context or shape.context_length)
    head = _SHORTLIST.get(time) if target.vocabulary >= _LARGE_VOCABULARY else None
    return msgspec.structs.replace(shape, context_length=context, draft_vocab=head)


def _set_stages(recipe: RecipeData, model: Recipe, target: Measures) -> None:
    """Steps and losses as the time's recipe has them, no longer than the target's context."""
    usual = dump_recipe(model)
    longest = target.context or recipe["model"]["context_length"]
    for stage in STAGES:
        recipe[stage] = dict(usual[stage])
        rows = min(int(recipe[stage].get("sequence_length", longest)), longest)
        if "sequence_length" in recipe[stage]:
            recipe[stage]["sequence_length"] = rows
    recipe["synthesis"] = dict(usual["synthesis"])
    recipe["synthesis"]["new_tokens"] = min(int(recipe["synthesis"].get("new_tokens", 192)), longest // 2)
    recipe["synthesis"]["prefix_tokens"] = [n for n in recipe["synthesis"]["prefix_tokens"] if n <= longest // 2]


def _set_sources(recipe: RecipeData, why: dict[str, str], target: Measures, purpose: str) -> None:
    text, code = _MIXTURES[purpose]
    recipe["pt"]["sources"] = {"text": 1.0}
    recipe["cp"]["sources"] = {"code": code, "text": text}
    magpie = _MAGPIE[purpose] if target.chat else 0.0
    rest = 1 - magpie
    recipe["synthesis"] |= {
        "sources": {"code": round(code * rest, 3), "text": round(text * rest, 3)},
        "instructions": {},
        "magpie": magpie,
    }
    recipe["ft"]["sources"] = {"target": 1.0}
    for path in ("cp.sources", "synthesis.sources"):
        why[path] = f"For {purpose}."
    why["synthesis.magpie"] = (
        f"For {purpose}; the target has a chat template." if target.chat else "The target has no chat template."
    )


def _set_budgets(recipe: RecipeData, why: dict[str, str], target: Measures, time: str, shape: ModelShape) -> None:
    if time == PAPER:
        for path in ("pt.tokens", "cp.tokens", "ft.tokens", "synthesis.tokens"):
            why[path] = "The paper's; add sources of that size with F7."
        return
    seconds, cores = _SECONDS[time] * _USED, limits.cpu_quota() or os.cpu_count() or _CORES
    reads = _TRAINING_RATE / step_weights(shape, target.vocabulary) * cores / _CORES
    writes = _WRITING_RATE / (target.parameters or 134.5e6) * cores / _CORES
    written = writes * seconds * _WRITING
    fine = min(_PASSES * written, reads * seconds * (1 - _WRITING) / 2)
    rest = reads * seconds * (1 - _WRITING) - fine
    tokens = {"synthesis": written, "pt": rest * _PT_SHARE, "cp": rest * (1 - _PT_SHARE), "ft": fine}
    for section, number in tokens.items():
        recipe[section]["tokens"] = write_count(_rounded(number))
        rate = writes if section == "synthesis" else reads
        why[f"{section}.tokens"] = (
            f"For {time}, at about {_rounded(rate):,} tokens/s: a stored rate of two cores of a Xeon, scaled to {cores} cores and these sizes."
        )


def step_weights(shape: ModelShape, vocab_size: int) -> int:
    """Weights that one token of the draft meets: its layers, and the rows of its head that are scored."""
    width, keys = shape.hidden_size, shape.hidden_size // shape.num_heads * shape.num_kv_heads
    layer = 2 * width * width + 2 * width * keys + 3 * width * shape.intermediate_size
    return shape.num_layers * layer + (shape.draft_vocab or vocab_size) * width


def _rounded(number: float) -> int:
    """Two digits say enough, and no stage has less than a few steps."""
    number = max(number, 10.0)
    size = 10 ** (len(str(int(number))) - 2)
    return round(number / size) * size
