"""The whole surface predicted: expected blocks of every gamma along known texts, and what they cost.

The joint acceptance of one long run at gamma G is not enough for a smaller gamma: its blocks begin elsewhere. After
gamma accepted tokens a short block ends and the next one begins inside the same easy stretch, where G still drafts.
With the chance of acceptance at every position of the text (``acceptance.py``) the blocks of any gamma can be followed
exactly: a block that begins at s ends after its first refused token or after its bonus, and the next one begins there.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fastdraft_core.bench.costs import Costs
from fastdraft_core.events import BlockCost, PointPredicted
from fastdraft_core.metrics import break_even_acceptance


@dataclass(frozen=True, slots=True)
class Blocks:
    """Expected blocks over some texts. ``by_width[w]`` drafted w tokens; ``accepted[i]`` got past position i; each has gamma (+ 1) items."""

    tokens: int
    by_width: list[float]
    accepted: list[float]

    @property
    def count(self) -> float:
        """Target passes."""
        return sum(self.by_width)

    @property
    def drafted(self) -> float:
        """Drafted tokens."""
        return sum(width * blocks for width, blocks in enumerate(self.by_width))

    @property
    def tau(self) -> float:
        """Tokens a target pass."""
        return self.tokens / self.count

    @property
    def acceptance(self) -> float:
        """Accepted over drafted."""
        return sum(self.accepted) / self.drafted if self.drafted else 0.0

    @property
    def joint(self) -> list[float]:
        """Of the blocks that drafted position i, the share accepted up to and including it."""
        reaching = [sum(self.by_width[i + 1 :]) for i in range(len(self.accepted))]
        return [a / blocks if blocks else 0.0 for a, blocks in zip(self.accepted, reaching, strict=True)]


def expected_blocks(
    texts: Iterable[Sequence[float]], gamma: int, reaches: Iterable[Sequence[int]] | None = None
) -> Blocks:
    """Blocks of at most ``gamma`` drafted tokens along ``texts``: chances of acceptance, one a token after the first.

    A block drafts no more than what is left but one, as decoding does (pitfall 12), and no more than ``reaches`` says of the place
    where it begins, for a draft that does not always know how to go on.
    """
    by_width, accepted, tokens = [0.0] * (gamma + 1), [0.0] * gamma, 0
    for text, reach in zip(texts, itertools.repeat(None) if reaches is None else reaches, strict=False):
        tokens += len(text)
        # The expected number of blocks that begin at each position.
        begins = [1.0, *[0.0] * len(text)]
        for start in range(len(text)):
            alive = begins[start]
            width = min(gamma, len(text) - start - 1, gamma if reach is None else reach[start])
            by_width[width] += alive
            for position in range(width):
                kept = alive * text[start + position]
                begins[start + position + 1] += alive - kept
                accepted[position] += kept
                alive = kept
            begins[start + width + 1] += alive
    return Blocks(tokens, by_width, accepted)


def predicted(
    texts: Sequence[Sequence[float]],
    costs: Costs,
    *,
    draft: str,
    gamma: int,
    temperature: float,
    task: str,
    reaches: Sequence[Sequence[int]] | None = None,
) -> PointPredicted:
    """Tokens over what their expected blocks cost: tau / (v(gamma + 1) + gamma·c + overhead).

    Shorter last blocks are in it, and in the overhead what the first block of a text takes more.
    """
    blocks = expected_blocks(texts, gamma, reaches)
    verify = sum(n * costs.verify[width] for width, n in enumerate(blocks.by_width)) / blocks.count
    drafted = blocks.drafted / blocks.count
    drafting = (
        sum(width * n * costs.draft[width - 1] for width, n in enumerate(blocks.by_width) if width) / blocks.count
    )
    overhead = costs.overhead + costs.first * len(texts) / blocks.count
    total = verify + drafting + overhead
    return PointPredicted(
        draft=draft,
        gamma=gamma,
        temperature=temperature,
        task=task,
        speedup=blocks.tau / total,
        tau=blocks.tau,
        acceptance=blocks.acceptance,
        joint=blocks.joint,
        cost=BlockCost(
            drafted=drafted,
            draft=drafting / drafted if drafted else 0.0,
            verify=verify,
            overhead=overhead,
            break_even=break_even_acceptance(total, drafted) if drafted else 0.0,
        ),
    )


def fit(measured: Sequence[float], predictions: Sequence[float]) -> tuple[float, float]:
    """R² of predictions (of the values themselves, no line fitted) and the largest error as a share of the measured value."""
    mean = sum(measured) / len(measured)
    scatter = sum((m - mean) ** 2 for m in measured)
    missed = sum((m - p) ** 2 for m, p in zip(measured, predictions, strict=True))
    worst = max(abs(m - p) / m for m, p in zip(measured, predictions, strict=True))
    return (1 - missed / scatter if scatter else 0.0), worst
