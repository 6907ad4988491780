"""Decode time is decoding's own: a synthetic clock shows what is counted (pitfall 21)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from fastdraft_core.decoding import speculative as ar_module
from fastdraft_core.decoding import speculative as sd_module
from fastdraft_core.decoding.drafters import ModelDrafter
from fastdraft_core.decoding.records import First, Pass, Record, Request, Stopwatch
from tests.decoding.table import TableRuntime, random_table

DRAFT_SECONDS, TARGET_SECONDS, LOOKING_SECONDS = 1.0, 10.0, 5000.0


class Clock:
    """Seconds that pass only when somebody says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Slow(TableRuntime):
    """A table whose passes take a known time."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        super().__init__(random_table(6, 5))
        self.clock, self.seconds = clock, seconds

    def forward(self, ids: list[int]) -> torch.Tensor:
        self.clock.now += self.seconds
        return super().forward(ids)


class Queueing(Slow):
    """A device that takes its work at once and does it until somebody waits, as CUDA and XPU do."""

    queued = 0.0

    def forward(self, ids: list[int]) -> torch.Tensor:
        self.queued += self.seconds
        self.clock.now -= self.seconds
        return super().forward(ids)

    def synchronize(self) -> None:
        self.clock.now += self.queued
        self.queued = 0.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock that decoding reads."""
    clock = Clock()
    for module in (ar_module, sd_module):
        monkeypatch.setattr(module, "Stopwatch", lambda: Stopwatch(clock))
    return clock


def looked_at(records: Iterator[Record], clock: Clock) -> tuple[First, list[Pass]]:
    """All records; whoever looks at one takes very long."""
    found = []
    for record in records:
        clock.now += LOOKING_SECONDS
        found.append(record)
    first, *passes = found
    assert isinstance(first, First)
    return first, passes  # type: ignore[return-value]


def test_a_pause_is_not_counted() -> None:
    """Two stretches of work with a rest between them are the sum of the two."""
    clock = Clock()
    watch = Stopwatch(clock)
    clock.now = 2
    watch.pause()
    clock.now = 50
    watch.resume()
    clock.now = 53
    assert watch.read() == 5


def test_autoregressive_time_is_one_pass_a_token(clock: Clock) -> None:
    """The prefill is in the time to the first token only, and the time a reader takes is in none."""
    first, passes = looked_at(ar_module.autoregressive(Slow(clock, TARGET_SECONDS), Request([1] * 9, 5)), clock)
    assert first.seconds == TARGET_SECONDS
    assert [p.at for p in passes] == [10, 20, 30, 40]
    assert all((p.draft_seconds, p.verify_seconds, p.overhead_seconds) == (0, 10, 0) for p in passes)


def test_speculative_time_is_drafting_and_verifying(clock: Clock) -> None:
    """Draft = target, gamma 3: a block is three draft steps and one target pass; both prefills come before."""
    drafter = ModelDrafter(Slow(clock, DRAFT_SECONDS))
    records = sd_module.speculative(Slow(clock, TARGET_SECONDS), drafter, Request([1] * 9, 13), 3)
    first, passes = looked_at(records, clock)
    assert first.seconds == TARGET_SECONDS + DRAFT_SECONDS
    assert [p.at for p in passes] == [13, 26, 39]
    assert all((p.draft_seconds, p.verify_seconds, p.overhead_seconds) == (3, 10, 0) for p in passes)


def test_work_that_a_device_still_does_is_counted_as_the_models(clock: Clock) -> None:
    """The watch is read after the device is done: else verifying looks free and sampling dear, and a prefill is decoded."""
    _, passes = looked_at(ar_module.autoregressive(Queueing(clock, TARGET_SECONDS), Request([1] * 9, 5)), clock)
    assert [(p.verify_seconds, p.overhead_seconds) for p in passes][1:] == [(10, 0)] * 3
    drafter = ModelDrafter(Slow(clock, DRAFT_SECONDS))
    records = sd_module.speculative(Queueing(clock, TARGET_SECONDS), drafter, Request([1] * 9, 13), 3)
    _, passes = looked_at(records, clock)
    assert [(p.draft_seconds, p.verify_seconds, p.overhead_seconds) for p in passes][1:] == [(3, 10, 0)] * 2
    waiting = ModelDrafter(Queueing(clock, DRAFT_SECONDS))
    before = clock.now
    waiting.start([1] * 9)
    assert clock.now == before + DRAFT_SECONDS, "the draft's prefill is over before the first token is told"
