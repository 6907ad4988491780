"""The proof behind ``fastdraft verify``: speculative output is autoregressive output.

Greedy: equal tokens, save near-ties, where the target's own two best logits are closer than the
rounding noise between its one-token and its many-token pass, calibrated on this machine and explained by the format that it
computes in (``rounding.py``). There may be as many near-ties as that noise makes, and no more.
Sampled: the law of the two tokens after a fixed context against the target's exact law, by total
variation, with the noise level that exact sampling of the same size shows.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from fastdraft_core.decoding.drafters import Drafter
from fastdraft_core.decoding.records import Request, Streams
from fastdraft_core.decoding.sampling import Sampling, Verdict, process
from fastdraft_core.decoding.speculative import Judge, autoregressive, lossless, speculative
from fastdraft_core.events import NearTie
from fastdraft_core.runtimes.base import Runtime

_NOISE_SIMULATIONS = 2000
_NOISE_QUANTILE = 0.999
#: Greedy tokens in which a lookup is expected to find something.
_MOST_CONTEXT = 256


@dataclass(frozen=True, slots=True)
class GreedyCheck:
    """Greedy comparison of one prompt; ``parted`` is None where the tokens are equal.

    ``margins`` are those of the target's two best logits in one-token passes, at every place that was compared but the first,
    which both ways take from the prefill.
    """

    expected: list[int]
    emitted: list[int]
    parted: NearTie | None
    margins: list[float]

    @property
    def passed(self) -> bool:
        """Equal, or parted only at a tie that rounding decides."""
        return self.parted is None or self.parted.tie


@dataclass(frozen=True, slots=True)
class LawCheck:
    """Total variation between the empirical and the exact law of one token; ``noise`` is its 99.9 % quantile."""

    position: int
    samples: int
    total_variation: float
    noise: float

    @property
    def passed(self) -> bool:
        """Whether the distance is what exact sampling would show."""
        return self.total_variation <= self.noise


def accept_all(
    drafted: list[int], q: torch.Tensor | None, logits: torch.Tensor, sampling: Sampling, streams: Streams
) -> Verdict:
    """The negative control: keeps every drafted token, which is *not* lossless; a check must fail on it."""
    honest = lossless(drafted, q, logits, sampling, streams)
    return Verdict(len(drafted), honest.token, honest.p, honest.q, honest.u)


def check_greedy(
    target: Runtime, drafter: Drafter, request: Request, gamma: int, noise: float, judge: Judge = lossless
) -> GreedyCheck:
    """Decode ``request`` greedily both ways and compare the ids; ``noise`` is the floor of ``measure_rounding``."""
    expected = [t for record in autoregressive(target, request) for t in record.emitted]
    emitted = [t for record in speculative(target, drafter, request, gamma, judge) for t in record.emitted]
    at = _first_difference(expected, emitted)
    logits = _one_by_one(target, request, expected[: min(at + 1, len(expected))])
    margins = [float(row[0] - row[1]) for row in (step.topk(2).values for step in logits[1:])]
    return GreedyCheck(expected, emitted, _parting(logits, expected, emitted, noise), margins)


def parting(target: Runtime, request: Request, expected: list[int], emitted: list[int], noise: float) -> NearTie | None:
    """Where greedy ids ``emitted`` leave the autoregressive ``expected``, and by what margin; None if nowhere.

    A text that ends before the other parts from it by the largest margin there is: no rounding does that.
    """
    at = _first_difference(expected, emitted)
    return _parting(_one_by_one(target, request, expected[: min(at + 1, len(expected))]), expected, emitted, noise)


def _first_difference(expected: list[int], emitted: list[int]) -> int:
    shorter = min(len(expected), len(emitted))
    return next((i for i in range(shorter) if expected[i] != emitted[i]), shorter)


def _one_by_one(target: Runtime, request: Request, text: list[int]) -> list[torch.Tensor]:
    """The logits ``[V]`` that each token of ``text`` is chosen by, in one-token passes."""
    return [target.prefill(request.prompt), *(target.forward([token])[0] for token in text[:-1])]


def _parting(logits: list[torch.Tensor], expected: list[int], emitted: list[int], noise: float) -> NearTie | None:
    at = _first_difference(expected, emitted)
    if at == len(expected) == len(emitted):
        return None
    margin = sys.float_info.max  # JSON has no infinity
    if at < min(len(expected), len(emitted)):
        margin = float(logits[at][expected[at]] - logits[at][emitted[at]])
    return NearTie(position=at + 1, margin=margin, noise=noise)


def check_law(
    target: Runtime, drafter: Drafter, request: Request, gamma: int, samples: int, judge: Judge = lossless
) -> Iterator[LawCheck]:
    """The law of the second and third new token, after the context that greedy decoding fixes.

    The first new token comes from the prefill and proves nothing. ``request`` gives prompt and sampling. The context grows until
    something is drafted after it, which a lookup may not do at once.
    """
    context = _context(target, drafter, request, gamma)
    found = _sampled_blocks(target, drafter, request, context, gamma, samples, judge)
    exact = _law_of(target.prefill(context), request.sampling)
    yield _law(2, np.bincount(found[:, 0], minlength=len(exact)), exact)
    # The third token's law, given the second tokens that were seen, each as often as it was seen.
    mixed = np.zeros_like(exact)
    for token, count in zip(*np.unique(found[:, 0], return_counts=True), strict=True):
        mixed += count / samples * _conditional(target, context, int(token), request.sampling)
    yield _law(3, np.bincount(found[:, 1], minlength=len(exact)), mixed)


def _context(target: Runtime, drafter: Drafter, request: Request, gamma: int) -> list[int]:
    """The prompt and at least one greedy token, and as many as it takes until the drafter proposes something."""
    context = [*request.prompt, int(target.prefill(request.prompt).argmax())]
    drafter.prepare(gamma, request.sampling)
    drafter.start(request.prompt)
    stream = request.streams().draft
    for _ in range(min(_MOST_CONTEXT, target.context_length - len(context) - 2 * gamma - 3)):
        if drafter.propose(context, 1, request.sampling, stream)[0]:
            break
        drafter.keep(len(context))
        context.append(int(target.forward(context[-1:])[0].argmax()))
    return context


def _sampled_blocks(
    target: Runtime, drafter: Drafter, request: Request, context: list[int], gamma: int, samples: int, judge: Judge
) -> npt.NDArray[np.int64]:
    """The two tokens after ``context``, drawn ``samples`` times: ``[samples, 2]``. Caches are rewound between."""
    drafter.prepare(gamma, request.sampling)
    drafter.start(context[:-1])
    logits = target.prefill(context[:-1])
    streams = request.streams(logits.device)
    found = []
    for _ in range(samples):
        emitted: list[int] = []
        # A block of one token leaves the next one to the next block.
        while len(emitted) < 2:
            sequence = [*context, *emitted]
            drafted, q = drafter.propose(sequence, gamma, request.sampling, streams.draft)
            logits = target.forward([sequence[-1], *drafted])
            verdict = judge(drafted, q, logits, request.sampling, streams)
            target.rewind(len(sequence) + verdict.accepted)
            drafter.learn(sequence, drafted, verdict, logits)
            drafter.keep(len(sequence) + verdict.accepted)
            emitted += [*drafted[: verdict.accepted], verdict.token]
        found.append(emitted[:2])
        target.rewind(len(context) - 1)
        drafter.keep(len(context) - 1)
    return np.asarray(found)


def _conditional(target: Runtime, context: list[int], token: int, sampling: Sampling) -> npt.NDArray[np.float64]:
    """The exact law of what follows ``context`` and ``token``; ``context`` is cached."""
    target.rewind(len(context))
    return _law_of(target.forward([token])[0], sampling)


def _law_of(logits: torch.Tensor, sampling: Sampling) -> npt.NDArray[np.float64]:
    return process(logits[None], sampling)[0].double().cpu().numpy()


def _law(position: int, counts: npt.NDArray[np.int64], exact: npt.NDArray[np.float64]) -> LawCheck:
    samples = int(counts.sum())
    exact = exact / exact.sum()
    simulated = np.random.default_rng(0).multinomial(samples, exact, size=_NOISE_SIMULATIONS)
    distances = np.abs(simulated / samples - exact).sum(1) / 2
    return LawCheck(
        position=position,
        samples=samples,
        total_variation=float(np.abs(counts / samples - exact).sum() / 2),
        noise=float(np.quantile(distances, _NOISE_QUANTILE)),
    )
