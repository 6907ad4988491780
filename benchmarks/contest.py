"""What benchmarks against peers share: contenders take turns on the same prompts, and drift cancels."""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from fastdraft_core.decoding.records import Request
from fastdraft_core.models.catalog import usual_draft

#: Decodes a request; decoded tokens and the seconds they took, the prefill left out.
Contender = Callable[[Request], tuple[int, float]]


@dataclass(slots=True)
class Tally:
    """Tokens and seconds of one contender, by repeat."""

    rates: list[float] = field(default_factory=list)
    tokens: int = 0
    seconds: float = 0.0

    def close_repeat(self) -> None:
        """Turn what was added since the last call into one rate."""
        self.rates.append(self.tokens / self.seconds)
        self.tokens, self.seconds = 0, 0.0

    @property
    def median(self) -> float:
        """Tokens/s, the median over repeats."""
        return statistics.median(self.rates)


def interleave(contenders: Mapping[str, Contender], requests: Sequence[Request], repeats: int) -> dict[str, Tally]:
    """Every contender on every request, ``repeats`` times; the order turns round every time."""
    tallies = {name: Tally() for name in contenders}
    for repeat in range(repeats):
        for number, request in enumerate(requests):
            order = list(contenders) if (repeat + number) % 2 == 0 else list(reversed(contenders))
            for name in order:
                tokens, seconds = contenders[name](request)
                tallies[name].tokens += tokens
                tallies[name].seconds += seconds
        for tally in tallies.values():
            tally.close_repeat()
    return tallies


def ratio(tallies: Mapping[str, Tally], a: str, b: str) -> float:
    """Median over repeats of the ratio of rates within the repeat: a drift of the machine cancels."""
    return statistics.median(x / y for x, y in zip(tallies[a].rates, tallies[b].rates, strict=True))


def parse_pair(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """The options of ``parser`` and a pair, ``target`` and ``draft``: the target's usual draft where none is named."""
    parser.add_argument(
        "--pair", dest="target", default="demo", metavar="TARGET", help="demo, smollm2 or another target"
    )
    parser.add_argument("--draft", default="", help="default: the one that the target is shown with")
    options = parser.parse_args()
    options.draft = options.draft or usual_draft(options.target)
    return options
