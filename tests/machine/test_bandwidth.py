"""What a rate of reading means: a share of the measured peak, or nothing where the weights never leave the cache."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastdraft_core.events import ModelCard, cache_bound
from fastdraft_core.machine import bandwidth
from fastdraft_core.machine.bandwidth import Bandwidth, describe_rate

MIB = 1 << 20


def _card(weight_bytes: int, device: str = "cpu") -> ModelCard:
    return ModelCard(
        name="m", architecture="llama", parameters=1, weight_bytes=weight_bytes, dtype="float32", device=device, layers=1,
        hidden_size=1, vocab_size=1, context_length=1,
    )  # fmt: skip


PEAK = Bandwidth(
    single_thread=10.0,
    all_threads=16.0,
    threads=2,
    buffer_bytes=MIB,
    busy_share=0.0,
    method="stand-in",
    machine="here",
    measured_on="2026-01-01",
)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A machine with a cache of 32 MiB and a measured peak."""
    monkeypatch.setattr(bandwidth, "last_level_cache", lambda: 32 * MIB)
    monkeypatch.setattr(bandwidth, "kept_peak_bandwidth", lambda: PEAK)
    return monkeypatch


@given(st.integers(0, 1 << 40), st.none() | st.integers(0, 1 << 40), st.integers(1, 1 << 30))
def test_a_pair_is_cache_bound_when_all_its_weights_fit(target: int, draft: int | None, cache: int) -> None:
    """Target and draft take turns, so both have to stay; an unknown cache claims nothing."""
    cards = _card(target), None if draft is None else _card(draft)
    assert cache_bound(*cards, cache) == (target + (draft or 0) <= cache)
    assert not cache_bound(*cards, None)


def test_the_processor_s_cache_says_nothing_of_another_device() -> None:
    """A model on a GPU does not lie in the processor's memory."""
    assert not cache_bound(_card(1, "cuda:0"), None, 32 * MIB)
    assert not cache_bound(_card(1), _card(1, "gpu"), 32 * MIB)


def test_the_share_is_of_the_peak_with_as_many_threads(machine: pytest.MonkeyPatch) -> None:
    """5 of 10 GB/s with one thread; 8 of 16 with two."""
    assert describe_rate(5.0, _card(100 * MIB), None, 1) == "50% of the measured peak"
    assert describe_rate(8.0, _card(100 * MIB), None, 2) == "50% of the measured peak"


def test_what_fits_in_the_cache_is_labelled_and_has_no_share(machine: pytest.MonkeyPatch) -> None:
    """The issue's rule: such a figure is not compared with main memory; a draft that does not fit beside changes it."""
    assert describe_rate(40.0, _card(24 * MIB), _card(2 * MIB), 2).startswith("cache-bound")
    assert "peak" in describe_rate(40.0, _card(24 * MIB), _card(20 * MIB), 2)


def test_a_peak_measured_beside_other_work_bounds_the_share(machine: pytest.MonkeyPatch) -> None:
    """The true peak is higher, so the true share is lower."""
    busy = msgspec.structs.replace(PEAK, busy_share=0.5)
    machine.setattr(bandwidth, "kept_peak_bandwidth", lambda: busy)
    assert describe_rate(8.0, _card(100 * MIB), None, 2) == "at most 50% of the measured peak"


def test_nothing_is_said_without_a_measurement(machine: pytest.MonkeyPatch) -> None:
    """No peak is assumed, and none of this memory is compared with another device's."""
    assert describe_rate(8.0, _card(100 * MIB, "gpu"), None, 2) == ""
    machine.setattr(bandwidth, "kept_peak_bandwidth", lambda: None)
    assert describe_rate(8.0, _card(100 * MIB), None, 2) == ""
