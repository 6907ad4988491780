"""What is found out about this machine, and about a pair on it."""

from __future__ import annotations

from typing import Literal

import msgspec

from fastdraft_core.events.base import Event

CheckStatus = Literal["ok", "warn", "fail"]


class Check(Event, frozen=True):
    """One line of ``fastdraft doctor``; those of one ``group`` come together.

    ``advice`` says what to do unless ``status`` is ``ok``.
    """

    name: str
    value: str
    status: CheckStatus = "ok"
    advice: str = ""
    group: str = ""


class RuntimeChecked(Event, frozen=True):
    """A runtime's logits against ``reference`` in float32. ``problem`` is why nothing was compared, which fails nothing.

    ``error`` is the largest difference and ``explained`` what rounding makes of it; ``single`` and ``many`` are how far margins
    are off in passes over one token and over ``pass_length``.
    """

    passed: bool
    reference: str = ""
    error: float = 0.0
    explained: float = 0.0
    single: float = 0.0
    many: float = 0.0
    pass_length: int = 0
    problem: str = ""


class Parting(msgspec.Struct, frozen=True, kw_only=True):
    """Where greedy speculative text leaves autoregressive text: after prompt and token ``position``, both counted from 1.

    ``expected`` and ``emitted`` are the two tokens' texts, ``margin`` their logits' distance; ``tie`` says that rounding explains it.
    """

    prompt: int
    position: int
    expected: str
    emitted: str
    margin: float
    tie: bool


class GreedyChecked(Event, frozen=True):
    """Greedy texts of all prompts, token by token.

    Near-ties pass below ``floor`` (in logits; 0 where none may), up to ``most_ties`` of them. ``rounding`` is by how much margins
    moved between passes of different length, and ``explained`` what the number format makes of that; beyond it nothing passes.
    """

    passed: bool
    prompts: int
    equal: int
    tokens: int
    parted: list[Parting]
    near_ties: int
    expected_ties: float
    most_ties: int
    floor: float
    rounding: float
    explained: float
    exact: bool = False


class LawChecked(Event, frozen=True):
    """Sampled tokens at ``position`` after a prompt against the exact law; ``noise`` is what exact sampling shows in 999 of 1000."""

    passed: bool
    prompt: int
    position: int
    samples: int
    total_variation: float
    noise: float


class Verified(Event, frozen=True):
    """The verdict over all checks."""

    passed: bool
