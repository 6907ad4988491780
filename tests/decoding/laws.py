"""Compare what was decoded with a law: total variation, and what exact sampling of the same size shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np

from fastdraft_core.decoding.drafters import Drafter, ModelDrafter
from fastdraft_core.decoding.records import Pass, Request
from fastdraft_core.decoding.speculative import Judge, lossless, speculative
from fastdraft_core.runtimes.base import Runtime
from tests.decoding.table import Array

_SIMULATIONS = 1000
_QUANTILE = 0.999


@dataclass(frozen=True)
class Distance:
    """A total variation, and the 99.9 % quantile of what exact sampling of the same size shows."""

    found: float
    noise: float

    @property
    def fits(self) -> bool:
        """Whether the distance is sampling noise."""
        return self.found <= self.noise


def text_distance(texts: Iterable[tuple[int, ...]], law: dict[tuple[int, ...], float]) -> Distance:
    """How far the joint law of whole ``texts`` is from ``law``."""
    counts = Counter(texts)
    total = sum(counts.values())
    support = list(law)
    exact = np.array([law[text] for text in support])
    exact /= exact.sum()
    # A text that the law does not know at all counts in full.
    found = np.abs(np.array([counts[t] for t in support]) / total - exact).sum()
    found += sum(n for text, n in counts.items() if text not in law) / total
    simulated = np.random.default_rng(0).multinomial(total, exact, size=_SIMULATIONS) / total
    return Distance(found / 2, float(np.quantile(np.abs(simulated - exact).sum(1) / 2, _QUANTILE)))


def transition_distance(ids: list[int], law: Array) -> Distance:
    """How far the tokens of one long text are from the law after each pair, over all pairs seen."""
    size = len(law)
    counts = np.zeros((size,) * 3)
    np.add.at(counts, (ids[:-2], ids[1:-1], ids[2:]), 1)
    rows, exact = counts.reshape(-1, size), law.reshape(-1, size)
    total, rng = rows.sum(), np.random.default_rng(0)
    noise = np.zeros(_SIMULATIONS)
    for row, p in zip(rows, exact, strict=True):
        if seen := int(row.sum()):
            noise += np.abs(rng.multinomial(seen, p / p.sum(), size=_SIMULATIONS) - seen * p).sum(1)
    found = np.abs(rows - rows.sum(1, keepdims=True) * exact).sum()
    return Distance(float(found / total / 2), float(np.quantile(noise, _QUANTILE) / total / 2))


def long_text(
    target: Runtime, drafter: Drafter, request: Request, gamma: int, judge: Judge = lossless
) -> tuple[list[int], list[Pass]]:
    """The ids of one text, the two last of its prompt first, and its passes."""
    records = list(speculative(target, drafter, request, gamma, judge))
    ids = request.prompt[-2:] + [t for record in records for t in record.emitted]
    return ids, [record for record in records if isinstance(record, Pass)]


def short_texts(
    target: Runtime, draft: Runtime, request: Request, gamma: int, length: int, count: int
) -> list[tuple[int, ...]]:
    """The first ``length`` tokens of ``count`` texts of different seeds; whole blocks are decoded."""
    longer = replace(request, max_new_tokens=length + gamma)
    texts = []
    for seed in range(count):
        ids: list[int] = []
        records = speculative(target, ModelDrafter(draft), replace(longer, seed=seed), gamma)
        for record in islice(records, length):
            ids += record.emitted
            if len(ids) >= length:
                break
        texts.append(tuple(ids[:length]))
    return texts
