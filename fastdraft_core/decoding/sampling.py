"""Sampling and the lossless verdict on drafted tokens, as pure functions of tensors.

p is the target's and q the draft's distribution, both after the *same* processing (temperature,
top-k, top-p). Rule: Leviathan et al. 2211.17192, algorithm 1; Chen et al. 2302.01318.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from fastdraft_core.decoding.rows import argmax_rows, draw_rows
from fastdraft_core.errors import FastdraftError


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are drawn: temperature 0 is greedy, ``top_k`` 0 and ``top_p`` 1 keep all tokens."""

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0

    def __post_init__(self) -> None:
        if self.temperature < 0 or self.top_k < 0 or not 0 < self.top_p <= 1:
            raise FastdraftError("temperature and top-k must be 0 or more, and top-p above 0 and at most 1.")

    @property
    def greedy(self) -> bool:
        """Whether the most probable token is always taken."""
        return self.temperature == 0

    @property
    def untruncated(self) -> bool:
        """Whether every token may be drawn; greedy decoding truncates nothing."""
        return self.greedy or (self.top_k == 0 and self.top_p == 1)


@dataclass(frozen=True, slots=True)
class Verdict:
    """``accepted`` of the drafted tokens are kept and ``token`` follows them (corrected or bonus).

    ``p``, ``q`` and ``u`` are, for each drafted token that was judged, the two probabilities and the
    random number that decided; empty when greedy.
    """

    accepted: int
    token: int
    p: list[float]
    q: list[float]
    u: list[float]


def process(logits: torch.Tensor, sampling: Sampling) -> torch.Tensor:
    """Probabilities ``[n, V]`` of logits ``[n, V]`` after temperature, top-k and top-p, in this order."""
    assert not sampling.greedy, "greedy decoding compares argmaxes, not probabilities"
    logits = logits / sampling.temperature
    if 0 < sampling.top_k < logits.shape[-1]:
        threshold = logits.topk(sampling.top_k).values[..., -1:]
        logits = logits.masked_fill(logits < threshold, -torch.inf)
    probabilities = logits.softmax(-1)
    if sampling.top_p < 1:
        ordered, order = probabilities.sort(descending=True, stable=True)
        # A token stays while the mass before it is under top_p, so that one always stays.
        outside = ordered.cumsum(-1) - ordered >= sampling.top_p
        probabilities = probabilities.masked_fill(outside.scatter(-1, order, outside), 0.0)
        probabilities = probabilities / probabilities.sum(-1, keepdim=True)
    return probabilities


def best(logits: torch.Tensor) -> list[int]:
    """The most probable token id of each row of logits ``[n, V]``.

    Raises:
        FastdraftError: logits are NaN.
    """
    ids = argmax_rows(logits)
    # NaN counts as the largest, so the rows need not be searched for it.
    if bool(logits.gather(-1, ids).isnan().any()):
        raise _not_a_number()
    found: list[int] = ids[:, 0].tolist()
    return found


def draw(probabilities: torch.Tensor, generator: torch.Generator) -> int:
    """One token id from a distribution ``[V]``.

    Raises:
        FastdraftError: the probabilities are NaN.
    """
    token = int(draw_rows(probabilities[None], generator))
    if token == len(probabilities):
        raise _not_a_number()
    return token


def _not_a_number() -> FastdraftError:
    return FastdraftError(
        "The model's probabilities are no numbers. Its weights are damaged, or too large for the precision: try "
        "--dtype float32."
    )


def residual(p: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
    """normalise(max(p - q, 0)) ``[V]``; p itself where floating point leaves nothing (pitfall 3)."""
    rest = (p - q).clamp_(min=0)
    total = rest.sum()
    return rest / total if float(total) > 0 else p


def judge_greedy(drafted: list[int], logits: torch.Tensor) -> Verdict:
    """Accept while the drafted token is the target's argmax; logits ``[len(drafted) + 1, V]``.

    Raises:
        FastdraftError: logits are NaN.
    """
    own = best(logits)
    accepted = next((i for i, token in enumerate(drafted) if token != own[i]), len(drafted))
    return Verdict(accepted, own[accepted], [], [], [])


def judge_block(
    drafted: list[int],
    q: torch.Tensor,
    p: torch.Tensor,
    accept_stream: torch.Generator,
    token_stream: torch.Generator,
) -> Verdict:
    """As ``judge``, but over the whole block at once: block verification (Sun et al. 2403.10444, algorithm 2).

    The first n tokens are kept for the largest n whose random number is below the n-th threshold. In expectation that is never
    fewer than token by token, and the law of what is emitted is the target's as well.
    """
    of_p, of_q = _of_drafted(drafted, q, p)
    weights, thresholds = block_thresholds(drafted, q, p)
    drawn: list[float] = torch.rand(len(drafted), generator=accept_stream, dtype=torch.float64).tolist()
    accepted = max((n for n, u in enumerate(drawn, 1) if u < thresholds[n - 1]), default=0)
    rest = p[accepted]
    if accepted < len(drafted):
        rest = residual(weights[accepted] * p[accepted], q[accepted])
    judged = min(accepted + 1, len(drafted))
    return Verdict(accepted, draw(rest, token_stream), of_p[:judged], of_q[:judged], drawn[:judged])


def block_thresholds(drafted: list[int], q: torch.Tensor, p: torch.Tensor) -> tuple[list[float], list[float]]:
    """How far the target supports each beginning of a block, and the chance of keeping it where no longer one is kept.

    The first list has len(drafted) + 1 weights: that of n tokens is the product of their p/q, cut to 1 after each; the second
    one the thresholds of 1, 2, … tokens.
    """
    of_p, of_q = _of_drafted(drafted, q, p)
    weights, thresholds = [1.0], list[float]()
    for n, (ours, theirs) in enumerate(zip(of_p, of_q, strict=True), 1):
        # A q that rounds to zero was drawn all the same.
        weight = min(1.0, weights[-1] * ours / theirs) if theirs > 0 else 1.0
        weights.append(weight)
        if n == len(drafted):
            thresholds.append(weight)
            continue
        left = float((weight * p[n] - q[n]).clamp_(min=0).sum())
        rest = left + 1 - weight
        thresholds.append(left / rest if rest > 0 else 1.0)
    return weights, thresholds


def _of_drafted(drafted: list[int], q: torch.Tensor, p: torch.Tensor) -> tuple[list[float], list[float]]:
    """What p and q give each drafted token."""
    rows = torch.arange(len(drafted), device=p.device)
    at = torch.tensor(drafted, dtype=torch.long, device=p.device)
    return p[rows, at].tolist(), q[rows, at].tolist()


def judge(
    drafted: list[int],
    q: torch.Tensor,
    p: torch.Tensor,
    accept_stream: torch.Generator,
    token_stream: torch.Generator,
) -> Verdict:
    """Accept or reject drafted tokens so that what is emitted is distributed as the target's own.

    ``q`` is ``[gamma, V]``, ``p`` is ``[gamma + 1, V]``. The two streams are separate, so that no
    random number decides twice (pitfall 17).
    """
    of_p, of_q = _of_drafted(drafted, q, p)
    drawn: list[float] = torch.rand(len(drafted), generator=accept_stream, dtype=torch.float64).tolist()
    # u < p/q written without the division, for a q that rounds to zero.
    accepted = next((i for i, u in enumerate(drawn) if not u * of_q[i] < of_p[i]), len(drafted))
    rest = residual(p[accepted], q[accepted]) if accepted < len(drafted) else p[accepted]
    judged = min(accepted + 1, len(drafted))
    return Verdict(accepted, draw(rest, token_stream), of_p[:judged], of_q[:judged], drawn[:judged])
