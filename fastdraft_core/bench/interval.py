"""How well a measured speed-up is known.

Two questions, two intervals. *These prompts*: both modes run next to each other, again and again, and the figure moves
with the machine (and, when sampling, with the text). A Student t interval of the ratio of mean times, stratified by prompt,
so that prompts of different speed-up do not widen it. *Other prompts of the kind*: a bootstrap over prompts.

Texts that the model ends itself have lengths of their own. A prompt's times a token then count as often as its texts have tokens on
the mean, in both modes alike: the speed-up is that of decoding all texts, and a text that was drawn longer is not a slower one.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from fastdraft_core.events import Turn

_Item = TypeVar("_Item")

_RESAMPLES = 1000
_CONFIDENCE = 0.95
#: Two-sided 95 % quantiles of Student's t for 1 to 4 degrees of freedom; from there on an expansion is exact to 1 %.
_T95 = (12.706, 4.303, 3.182, 2.776)
_Z95 = 1.959964
#: Of a logarithm: an interval this wide says nothing anyway.
_WIDEST = 300.0


@dataclass(frozen=True, slots=True)
class Interval:
    """A ratio and its bounds."""

    ratio: float
    low: float
    high: float

    @property
    def half_width(self) -> float:
        """Half of the interval, as a share of the ratio; both bounds are equally far on a logarithmic scale."""
        return math.sqrt(self.high / self.low) - 1


def speedup(turns: Sequence[Turn]) -> float:
    """Mean baseline seconds over mean speculative seconds, each prompt weighted by the mean length of its texts."""
    by_prompt = _strata(turns)
    return sum(_mean([t.baseline for t in s]) for s in by_prompt) / sum(
        _mean([t.speculative for t in s]) for s in by_prompt
    )


def pooled_speedup(turns: Sequence[Turn]) -> float:
    """The same where a prompt may have been drawn several times, and counts as often."""
    return sum(t.baseline * t.tokens for t in turns) / sum(t.speculative * t.tokens for t in turns)


def interval(turns: Sequence[Turn]) -> Interval | None:
    """The speed-up on these prompts at 95 %; None until some prompt ran twice.

    With A and B the sums of the prompts' mean baseline and speculative seconds, log(A / B) has to first order the
    residuals a/A - b/B of each turn. A slow moment that both modes shared cancels out of them. Their variance is
    pooled over the prompts.
    """
    by_prompt = _strata(turns)
    freedom = sum(len(s) - 1 for s in by_prompt)
    if freedom < 1:
        return None
    baseline = sum(_mean([t.baseline for t in s]) for s in by_prompt)
    speculative = sum(_mean([t.speculative for t in s]) for s in by_prompt)
    squares = 0.0
    for stratum in by_prompt:
        residuals = [t.baseline / baseline - t.speculative / speculative for t in stratum]
        squares += sum((r - _mean(residuals)) ** 2 for r in residuals)
    variance = squares / freedom * sum(1 / len(s) for s in by_prompt)
    return _bounds(baseline / speculative, variance, freedom)


def first_interval(turns: Sequence[Turn]) -> Interval | None:
    """The speed-up at 95 % while prompts ran about once, from how they differ; None until two of them ran.

    For a pair so slow that rounds over all prompts do not fit into a budget. Prompts differ in more than time, so this is
    wider than ``interval`` is after some repeats.
    """
    by_prompt = _strata(turns)
    if len(by_prompt) < 2:
        return None
    means = [(_mean([t.baseline for t in s]), _mean([t.speculative for t in s])) for s in by_prompt]
    baseline, speculative = sum(b for b, _ in means), sum(s for _, s in means)
    squares = sum((b / baseline - s / speculative) ** 2 for b, s in means)
    freedom = len(means) - 1
    return _bounds(baseline / speculative, squares / freedom * len(means), freedom)


def student_t(freedom: int) -> float:
    """The two-sided 95 % quantile of Student's t (Abramowitz and Stegun 26.7.5)."""
    if freedom <= len(_T95):
        return _T95[freedom - 1]
    z, v = _Z95, freedom
    return z + (z**3 + z) / (4 * v) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * v**2)


def bootstrap(
    items: Sequence[_Item],
    prompt: Callable[[_Item], Hashable],
    ratio: Callable[[Sequence[_Item]], float],
    seed: int = 0,
) -> tuple[float, float] | None:
    """The 95 % interval of ``ratio`` when prompts are drawn again with replacement, each with all that belongs to it.

    None where there is one prompt: nothing is known of others then.
    """
    by_prompt: dict[Hashable, list[_Item]] = {}
    for item in items:
        by_prompt.setdefault(prompt(item), []).append(item)
    if len(by_prompt) < 2:
        return None
    rng, groups = random.Random(seed), list(by_prompt.values())
    drawn = sorted(ratio([i for g in rng.choices(groups, k=len(groups)) for i in g]) for _ in range(_RESAMPLES))
    tail = int(_RESAMPLES * (1 - _CONFIDENCE) / 2)
    return drawn[tail], drawn[-1 - tail]


def _strata(turns: Sequence[Turn]) -> list[list[Turn]]:
    """The turns of each prompt, their times those of a text of the prompt's mean length, in mean lengths of all prompts."""
    by_prompt: dict[int, list[Turn]] = {}
    for turn in turns:
        by_prompt.setdefault(turn.prompt, []).append(turn)
    lengths = {prompt: _mean([t.tokens for t in own]) for prompt, own in by_prompt.items()}
    whole = _mean(list(lengths.values())) if lengths else 1.0
    return [
        [Turn(t.prompt, t.baseline * lengths[prompt] / whole, t.speculative * lengths[prompt] / whole) for t in own]
        for prompt, own in by_prompt.items()
    ]


def _bounds(ratio: float, variance: float, freedom: int) -> Interval:
    """The interval of a ratio whose logarithm has this variance; far out it stays a number that JSON can hold."""
    reach = math.exp(min(student_t(freedom) * math.sqrt(variance), _WIDEST))
    return Interval(ratio, ratio / reach, ratio * reach)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
