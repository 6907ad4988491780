"""What rounding may change in logits: measured between pass lengths, held against what the number format explains.

A pass over one token and a pass over several sum up in another order, so their logits differ in the last digits and a near-tie
may fall the other way. Measuring that difference is not enough to excuse it: a pass over several tokens that is wrong
differs as well. So the measured noise must be explained by the format that the model computes in, and passes over
several tokens must be as near to a float32 reference as passes over one token are.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch

from fastdraft_core.decoding.records import Request
from fastdraft_core.decoding.speculative import autoregressive
from fastdraft_core.events import ModelCard
from fastdraft_core.runtimes.base import Runtime

#: A near-tie is a margin below so many times the largest change that was measured.
_TIE_SAFETY = 4.0
#: What one number loses: half a unit of the last place of the format; 64 of them in float32, which sums up by itself, where
#: the shorter formats are summed up in float32 and rounded once.
_LOSS = {"float32": 2.0**-18, "float16": 2.0**-11, "bfloat16": 2.0**-8, "int8": 2.0**-7, "int4": 2.0**-4}
#: Times the square root of the layers and the largest logit. Seen: floors of 0.02 (float32) and 0.23 (bfloat16) of what this explains
#: with the bundled target, of 0.15 with two layers of large weights in float32.
_MOST_LOSSES = 8.0
#: Of a shallow model as of one of so many layers: the margin of two logits moves by four losses, one for each of them in each pass, where
#: nothing but the logits themselves is rounded. Seen on a processor with AMX, in bfloat16 with two layers.
_SHALLOWEST = 4
#: Passes over several tokens may be off from the reference so many times as far as those over one. Seen: 0.8 to 1.1.
_MOST_RATIO = 1.5
#: Errors below this share of what a single loss makes are no errors.
_NEGLIGIBLE = 1 / 16
_TIES_QUANTILE = 0.999


@dataclass(frozen=True, slots=True)
class Rounding:
    """How far the margin of the two best logits moved between one-token and many-token passes.

    ``spread`` is the root of the mean square of the changes, ``largest`` the largest one, and ``explained`` the most that rounding
    can make of four times that.
    """

    spread: float
    largest: float
    explained: float

    @property
    def measured(self) -> float:
        """The noise floor as measured: four times the largest change."""
        return _TIE_SAFETY * self.largest

    @property
    def floor(self) -> float:
        """The margin below which a difference is a near-tie; never more than rounding explains."""
        return min(self.measured, self.explained)

    @property
    def credible(self) -> bool:
        """Whether rounding explains what was measured."""
        return self.measured <= self.explained

    @property
    def most(self) -> float:
        """The largest change that rounding explains."""
        return self.explained / _TIE_SAFETY

    def expected_ties(self, margins: Iterable[float]) -> float:
        """How many of the places with these margins rounding should turn over, by a Laplace law of this spread."""
        if self.spread == 0:
            return 0.0
        return sum(math.exp(-math.sqrt(2) * max(0.0, margin) / self.spread) / 2 for margin in margins)


@dataclass(frozen=True, slots=True)
class RuntimeCheck:
    """A runtime's logits against a float32 reference on the same text.

    ``error`` is the largest difference of any logit of a one-token pass, ``explained`` the most that rounding makes of it. ``single`` and
    ``many`` are the root mean square errors of the margin of the two best logits in passes over one and several tokens.
    """

    error: float
    explained: float
    single: float
    many: float
    negligible: float

    @property
    def right(self) -> bool:
        """Whether passes over one token give the reference's logits."""
        return self.error <= self.explained

    @property
    def even(self) -> bool:
        """Whether passes over several tokens are as near to the reference as those over one."""
        return self.many <= _MOST_RATIO * max(self.single, self.negligible)

    @property
    def passed(self) -> bool:
        """Whether both hold."""
        return self.right and self.even


def explained_rounding(card: ModelCard, logits: torch.Tensor) -> float:
    """The largest change of a logit that rounding explains in a model like ``card`` with logits of the size of ``logits``."""
    return _MOST_LOSSES * math.sqrt(max(_SHALLOWEST, card.layers)) * _loss(card) * _size(logits)


def measure_rounding(target: Runtime, requests: Sequence[Request], gamma: int) -> Rounding:
    """How far a logit difference moves between one-token and (gamma + 1)-token passes over greedy texts of ``requests``."""
    texts = [(request, text) for request in requests if (text := _text(target, request))]
    if not texts:
        return Rounding(0.0, 0.0, 0.0)
    single, many = (torch.cat([_read(target, r, text, n) for r, text in texts]) for n in (1, gamma + 1))
    changes = (_margins(single, single) - _margins(many, single)).abs()
    return Rounding(_spread(changes), float(changes.max()), explained_rounding(target.card, single))


def check_runtime(target: Runtime, reference: Runtime, requests: Sequence[Request], gamma: int) -> RuntimeCheck:
    """Compare the logits of ``target`` with those of ``reference``, the same model in float32, over greedy texts of ``requests``."""
    texts = [(request, text) for request in requests if (text := _text(target, request))]
    if not texts:
        return RuntimeCheck(0.0, 0.0, 0.0, 0.0, 0.0)
    single, many = (torch.cat([_read(target, r, text, n) for r, text in texts]).cpu() for n in (1, gamma + 1))
    exact = torch.cat([_read(reference, r, text, len(text)) for r, text in texts]).cpu()
    expected = _margins(exact, exact)
    return RuntimeCheck(
        error=float((single - exact).abs().nan_to_num(nan=0.0).max()),
        explained=explained_rounding(target.card, exact),
        single=_spread(_margins(single, exact) - expected),
        many=_spread(_margins(many, exact) - expected),
        negligible=_NEGLIGIBLE * _loss(target.card) * _size(exact),
    )


def most_ties(expected: float) -> int:
    """The most ties that are no surprise where so many are expected: the 99.9 % quantile of a Poisson law."""
    term = total = math.exp(-expected)
    count = 0
    while total < _TIES_QUANTILE:
        count += 1
        term *= expected / count
        total += term
    return count


def _text(target: Runtime, request: Request) -> list[int]:
    # The last token was never read: there may be no room for it.
    return [t for record in autoregressive(target, request) for t in record.emitted][:-1]


def _read(runtime: Runtime, request: Request, text: list[int], count: int) -> torch.Tensor:
    """Logits after each token of ``text``, read in passes of ``count`` tokens."""
    runtime.prefill(request.prompt)
    return torch.cat([runtime.forward(text[i : i + count]) for i in range(0, len(text), count)])


def _margins(logits: torch.Tensor, best_of: torch.Tensor) -> torch.Tensor:
    """By how much the best token of each row of ``best_of`` leads the second one in ``logits``."""
    top = logits.gather(1, best_of.topk(2).indices)
    return top[:, 0] - top[:, 1]


def _spread(changes: torch.Tensor) -> float:
    return float(changes.square().mean().sqrt())


def _loss(card: ModelCard) -> float:
    computing = card.compute or card.dtype
    keeping = card.kv_dtype or computing
    return max(_LOSS.get(computing, 2.0**-8), _LOSS.get(keeping, 2.0**-8))


def _size(logits: torch.Tensor) -> float:
    return float(logits[logits.isfinite()].abs().max())
