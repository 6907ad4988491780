"""How much longer: of the training, and of what goes on beside it. Modelled from measured rates, never promised."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from fastdraft_core.events import Scored, Synthesized, Tokenized
from fastdraft_core.formatting import span
from fastdraft_core.training.recipe import TARGET_SOURCE, Recipe

#: The time left follows from the median rate of so many events, about two seconds each.
_RATE_EVENTS = 30
#: The short names of what the target does beside training.
_WRITING, _SCORING = "writing", "scoring"


@dataclass(frozen=True, slots=True)
class TimeLeft:
    """Seconds of training left, in words what that rests on, and in words what it leaves out."""

    seconds: float
    basis: str
    not_counted: str = ""

    def __str__(self) -> str:
        """A part of a sentence."""
        bound, left_out = ("more than", f", not counting {self.not_counted}") if self.not_counted else ("about", "")
        return f"{bound} {span(self.seconds)} of training left{left_out}, {self.basis}"

    @property
    def short(self) -> str:
        """For a column: no length of time where more is to come than is counted, but a bound."""
        return f">{span(self.seconds)}" if self.not_counted else span(self.seconds)


@dataclass(frozen=True, slots=True)
class Aside:
    """Work beside training steps: ``done`` of ``total`` tokens at ``rate`` tokens/s; ``short`` names it in a column."""

    what: str
    short: str
    done: int
    total: int | None
    rate: float

    @property
    def share(self) -> float:
        """From 0 to 1; 0 where no end is known."""
        return min(1.0, self.done / self.total) if self.total else 0.0

    def __str__(self) -> str:
        """Tokens, rate, and the time left where there is an end."""
        of = f" of {self.total:,}" if self.total else ""
        left = max((self.total or 0) - self.done, 0)
        time = f", about {span(left / self.rate)} left (modelled from the rate)" if left and self.rate > 0 else ""
        return f"{self.what}: {self.done:,}{of} tokens, {self.rate:,.0f} tokens/s{time}"


def aside(event: Synthesized | Scored | Tokenized) -> Aside:
    """What the event tells."""
    match event:
        case Synthesized():
            words = ("the target writes", _WRITING)
        case Scored():
            words = ("the target's probabilities are stored", _SCORING)
        case Tokenized():
            words = (f"tokenizing {event.source}", "tokens")
    return Aside(*words, event.tokens, event.total_tokens, event.tokens_per_second)


def training_left(tokens: int, rates: Sequence[float], later: bool, not_counted: str) -> TimeLeft | None:
    """The time for ``tokens`` more at the latest of ``rates``; ``later`` stages are taken to be as fast.

    None where nothing is left or was measured.
    """
    rate = statistics.median(rates[-_RATE_EVENTS:]) if rates else 0.0
    if rate <= 0 or tokens <= 0:
        return None
    others = "; later stages are taken to be as fast" if later else ""
    return TimeLeft(tokens / rate, f"at {rate:,.0f} tokens/s, the median measured lately{others}", not_counted)


def uncounted(recipe: Recipe | None, ahead: Sequence[str], now: Aside | None) -> str:
    """What comes before or between the training steps of the stages ``ahead``, which have not begun; empty for nothing."""
    stages = recipe.stages if recipe else {}
    named = [stages[name] for name in ahead if name in stages]
    doing = now.short if now else ""
    parts = []
    if doing == _WRITING or any(TARGET_SOURCE in stage.sources for stage in named):
        parts.append("what the target writes")
    if doing == _SCORING or any(stage.loss != "ce" for stage in named):
        parts.append("the target's probabilities")
    if ahead:
        parts.append("the preparation of " + " and ".join(name.upper() for name in ahead))
    return " and ".join(parts)
