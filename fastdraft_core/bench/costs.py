"""What a pass costs, measured: verify cost v(n) and draft cost c, in autoregressive steps (pitfall 24).

Costs are read from real decoding, not from a loop of bare passes: sampling, the other model's use of the caches and
growing contexts are in them. A probe decodes with changing block lengths, so that all of them are measured side by
side. It keeps each for some blocks: after a change of shapes OpenVINO prepares its passes anew, which doubles the cost of
the first block (seen: 5.4 against 2.8 ms) and which decoding at one gamma pays once a text.
"""

from __future__ import annotations

import itertools
import math
import statistics
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch

from fastdraft_core.decoding.drafters import Drafter
from fastdraft_core.decoding.ngrams import point_masses
from fastdraft_core.decoding.records import Pass, Request
from fastdraft_core.decoding.sampling import Sampling, Verdict
from fastdraft_core.decoding.speculative import speculative
from fastdraft_core.decoding.totals import block_efficiency
from fastdraft_core.engine.pair import Pair
from fastdraft_core.runtimes.base import Kept

#: Blocks of each length that a mean needs.
_BLOCKS = 8
#: The standard error, as a share of the mean, at which no more blocks are asked for; and how many are enough in any case.
_ERROR, _MOST_BLOCKS = 0.01, 200
#: Blocks of one length in a row; the first of them is not counted.
_STRETCH = 5
_ROUNDS = 3
#: Seconds that a fast pair's costs may take to become precise.
_SECONDS = 10.0
#: A pass that took so many times the median was held up by something else.
_HELD_UP = 3.0


@dataclass(frozen=True, slots=True)
class Costs:
    """``step_seconds``: an autoregressive step. The others in such steps.

    ``verify[n - 1]`` is v(n), a target pass over n tokens; v(1) lacks of 1 what sampling takes. ``draft[n - 1]`` is c, one
    draft step with its sampling, in blocks of n: what a block takes once is spread over its steps. ``overhead`` is what else
    a block takes. ``first`` is what the first block of a text takes more than the others.
    """

    step_seconds: float
    verify: list[float]
    draft: list[float]
    overhead: float
    first: float = 0.0


class PacedDrafter:
    """A drafter that proposes as many tokens as ``lengths`` says next, at most what it is asked for.

    Where the drafter inside has fewer, its block is filled up with the text's last token, so that every length is timed.
    """

    def __init__(self, inner: Drafter, lengths: Iterator[int], vocab_size: int) -> None:
        self._inner = inner
        self._vocab_size = vocab_size
        self._lengths = lengths
        self.logits: list[torch.Tensor] = []

    @property
    def skipped(self) -> int:
        """As the drafter inside."""
        return self._inner.skipped

    @property
    def kept(self) -> Kept:
        """As the drafter inside."""
        return self._inner.kept

    def prepare(self, gamma: int, sampling: Sampling) -> None:
        """For every length up to ``gamma``."""
        for length in range(1, gamma + 1):
            self._inner.prepare(length, sampling)

    def reading(self, ids: list[int]) -> Iterator[int]:
        """As the drafter inside."""
        return self._inner.reading(ids)

    def start(self, ids: list[int]) -> None:
        """Read a new prompt."""
        self._inner.start(ids)

    def propose(
        self, ids: list[int], gamma: int, sampling: Sampling, stream: torch.Generator
    ) -> tuple[list[int], torch.Tensor | None]:
        """As the drafter inside, for the next length."""
        length = min(gamma, next(self._lengths))
        drafted, q = self._inner.propose(ids, length, sampling, stream)
        missing = length - len(drafted)
        if not missing:
            return drafted, q
        filled = [ids[-1]] * missing
        if sampling.greedy:
            return drafted + filled, None
        certain = point_masses(filled, self._vocab_size)
        return drafted + filled, certain if q is None else torch.cat([q, certain.to(q.device)])

    def learn(self, ids: list[int], drafted: list[int], verdict: Verdict, logits: torch.Tensor) -> None:
        """As the drafter inside."""
        self._inner.learn(ids, drafted, verdict, logits)

    def keep(self, length: int) -> None:
        """Forget what was read past the first ``length`` tokens."""
        self._inner.keep(length)

    def why_steps(self, gamma: int, sampling: Sampling) -> str:
        """As the drafter inside."""
        return self._inner.why_steps(gamma, sampling)


class Probe:
    """Collects what ``costs_of`` needs for one draft, run by run.

    Every length comes up once at first, so that little time tells of all of them, and then in stretches.
    """

    def __init__(self, pair: Pair, max_gamma: int) -> None:
        self.baseline: list[Pass] = []
        self.blocks: list[Pass] = []
        """Those after a block of the same length."""
        self._others: list[Pass] = []
        self._pair = pair
        self._max_gamma = max_gamma
        widths = range(max_gamma, 0, -1)
        stretches = itertools.cycle([width for width in widths for _ in range(_STRETCH)])
        self._lengths = itertools.chain(widths, stretches)

    def run(self, request: Request) -> list[int]:
        """Decode ``request`` once, changing the block length on the way. Returns the text."""
        drafter = PacedDrafter(self._pair.drafter(), self._lengths, self._pair.target.vocab_size)
        records = list(speculative(self._pair.target, drafter, request, self._max_gamma))
        before = -1
        for block in (record for record in records if isinstance(record, Pass)):
            (self.blocks if len(block.drafted) == before else self._others).append(block)
            before = len(block.drafted)
        return [token for record in records for token in record.emitted]

    @property
    def enough(self) -> bool:
        """Whether every block length was seen often enough for a mean."""
        seen = self._seen()
        return all(seen[width] >= _BLOCKS for width in range(1, self._max_gamma + 1))

    @property
    def precise(self) -> bool:
        """Whether the mean of every block length is known as well as it need be."""
        return self.enough and all(self._known(width) for width in range(1, self._max_gamma + 1))

    def _known(self, width: int) -> bool:
        seconds = [_seconds(block) for block in self.blocks if len(block.drafted) == width]
        error = statistics.stdev(seconds) / math.sqrt(len(seconds))
        return error <= _ERROR * statistics.fmean(seconds) or len(seconds) >= _MOST_BLOCKS

    def costs(self) -> Costs:
        """The costs seen so far."""
        seen = self._seen()
        alone = [block for block in self._others if not seen[len(block.drafted)]]
        found = costs_of(self.baseline, self.blocks + alone, self._max_gamma)
        return replace(found, first=self._more_after_a_change() / found.step_seconds)

    def _more_after_a_change(self) -> float:
        """Seconds that a block after one of another length takes more, as the first block of a text does after the prompt."""
        usual = {width: _mean([_seconds(b) for b in self.blocks if len(b.drafted) == width]) for width in self._seen()}
        more = [_seconds(b) - usual[len(b.drafted)] for b in self._others if len(b.drafted) in usual]
        return max(0.0, statistics.median(more)) if more else 0.0

    def _seen(self) -> Counter[int]:
        return Counter(len(block.drafted) for block in self.blocks)


def costs_of(baseline: Sequence[Pass], blocks: Sequence[Pass], max_gamma: int) -> Costs:
    """Means over autoregressive passes and over speculative blocks of several lengths, as a speed-up is one of totals.

    A length that no text left room for costs what the next shorter one does; no block of it will be decoded either. Where
    drafting was not seen at a length, c is that of the nearest one.
    """
    step = _mean([p.verify_seconds + p.overhead_seconds for p in baseline])
    verify, drafting = [_mean([p.verify_seconds for p in baseline]) / step], dict[int, float]()
    for width in range(1, max_gamma + 1):
        seen = [p for p in blocks if len(p.drafted) == width]
        verify.append(_mean([p.verify_seconds for p in seen]) / step if seen else verify[-1])
        if seen:
            drafting[width] = _mean([p.draft_seconds / width for p in seen]) / step
    nearest = [min(drafting, key=lambda seen: abs(seen - n), default=0) for n in range(1, max_gamma + 1)]
    draft = [drafting.get(width, 0.0) for width in nearest]
    overhead = _mean([p.overhead_seconds for p in blocks])
    return Costs(step, verify, draft, overhead / step)


def _seconds(block: Pass) -> float:
    return block.draft_seconds + block.verify_seconds


def steady(seconds: Sequence[float]) -> list[float]:
    """Those that nothing else held up."""
    limit = _HELD_UP * statistics.median(seconds)
    return [value for value in seconds if value <= limit]


def _mean(seconds: Sequence[float]) -> float:
    return statistics.fmean(steady(seconds))


def measure_costs(pair: Pair, requests: Sequence[Request], max_gamma: int) -> Costs:
    """The costs of a pair on ``requests``."""
    return probed(pair, requests, max_gamma, _SECONDS).costs()


def probed(pair: Pair, requests: Sequence[Request], max_gamma: int, seconds: float) -> Probe:
    """A probe of a pair on ``requests``: run in turn, both modes, until it is precise, or knows enough and ``seconds`` are up."""
    pair.warm_up("ar", requests[0], 0)
    pair.warm_up("sd", requests[0], max_gamma)
    probe, begin = Probe(pair, max_gamma), time.monotonic()
    for request in itertools.islice(itertools.cycle(requests), _ROUNDS * len(requests)):
        probe.baseline += [r for r in pair.decode("ar", request, 0) if isinstance(r, Pass)]
        probe.run(request)
        if probe.precise or (probe.enough and time.monotonic() - begin > seconds):
            break
    return probe


def predict(passes: Sequence[Pass], costs: Costs) -> float:
    """The predicted speed-up of measured passes: their tau and overhead with the measured costs of what each drafted."""
    overhead = sum(p.overhead_seconds for p in passes) / len(passes) / costs.step_seconds
    widths = [len(p.drafted) for p in passes]
    drafting = statistics.fmean(width * costs.draft[width - 1] if width else 0.0 for width in widths)
    verify = statistics.fmean(costs.verify[width] for width in widths)
    return block_efficiency(passes) / (verify + drafting + overhead)
