"""Rotary factors that change with the length: texts that grow past the boundary are what a pass without a cache would write."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch

from fastdraft_core.decoding.drafters import ModelDrafter
from fastdraft_core.decoding.records import Request
from fastdraft_core.decoding.speculative import autoregressive, speculative
from fastdraft_core.runtimes.base import BLOCK_READS, BlockRuntime, Runtime
from fastdraft_core.runtimes.rotary import rotary_switch, with_rotary_switch
from tests.runtimes.every import RUNTIMES, on
from tests.runtimes.models import VOCABULARY, build_model, noisy, small_model, uncached_logits

SWITCH = 16
TOLERANCE = 2e-4


@cache
def model() -> Any:
    """A Phi-3 whose long factors are far from the short ones."""
    factors = dict(short_factor=[1.0, 1.1, 1.2, 1.3], long_factor=[4.0, 7.0, 10.0, 13.0])
    rope = dict(rope_type="longrope", rope_theta=10000.0, original_max_position_embeddings=SWITCH, **factors)
    # Its own cache takes no dictionaries.
    return build_model("phi3", sliding_window=None, original_max_position_embeddings=SWITCH, rope_parameters=rope)


@cache
def runtime_of(runtime: str, share: float = 0.0) -> Runtime:
    subject = noisy(model(), share) if share else model()
    return with_rotary_switch(on("torch", subject), model().config) if runtime == "torch" else on(runtime, subject)


def ids_like(seed: int, count: int) -> list[int]:
    return torch.randint(3, VOCABULARY, (count,), generator=torch.Generator().manual_seed(seed)).tolist()


def test_the_boundary_is_the_models_own() -> None:
    """Only longrope has one; other models are not read twice."""
    assert rotary_switch(model().config) == SWITCH
    assert rotary_switch(small_model("llama").config) == 0
    plain = on("torch", small_model("llama"))
    assert with_rotary_switch(plain, small_model("llama").config) is plain


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_logits_have_the_factors_of_their_own_length(runtime: str) -> None:
    """Blocks across the boundary, on it, and back over it: each row is that of a pass of its own length without a cache."""
    subject, read = runtime_of(runtime), ids_like(1, SWITCH - 4)
    assert torch.allclose(subject.prefill(read), uncached_logits(model(), read)[-1], atol=TOLERANCE)
    for number, (count, kept) in enumerate([(3, 3), (5, 5), (4, 1), (2, 2), (6, -12), (9, 9), (1, 1)]):
        new = ids_like(10 + number, count)
        found = subject.forward(new)
        for row, end in zip(found, range(len(read) + 1, len(read) + count + 1), strict=True):
            expected = uncached_logits(model(), (read + new)[:end])[-1]
            assert torch.allclose(row, expected, atol=TOLERANCE), (number, end)
        read = (read + new)[: len(read) + kept]
        subject.rewind(len(read))


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_greedy_texts_across_the_boundary_are_transformers_own(runtime: str) -> None:
    """Both modes, with a draft that has the same boundary."""
    target, drafter = runtime_of(runtime), ModelDrafter(runtime_of(runtime, 0.2))
    for seed, gamma in ((1, 1), (2, 3), (3, 5)):
        prompt, expected = ids_like(seed, SWITCH - 6), list[int]()
        for _ in range(16):
            expected.append(int(uncached_logits(model(), prompt + expected)[-1].argmax()))
        request = Request(prompt, 16)
        assert [t for r in autoregressive(target, request) for t in r.emitted] == expected
        assert [t for r in speculative(target, drafter, request, gamma) for t in r.emitted] == expected


def test_a_block_is_written_on_one_side_of_the_boundary() -> None:
    """One that would cross it goes step by step; beyond it the past is read again before a block is written."""
    runtime = runtime_of("openvino")
    assert isinstance(runtime, BlockRuntime)
    runtime.prepare_blocks(3, greedy=True)
    crossing = [past for past in range(2 * SWITCH) if not runtime.writes_blocks(3, greedy=True, past=past)]
    assert crossing == list(range(SWITCH - BLOCK_READS - 1, SWITCH + 1))
    ids = ids_like(5, SWITCH + BLOCK_READS + 1)
    runtime.prefill(ids[: SWITCH - 2])
    runtime.forward(ids[SWITCH - 2 : -BLOCK_READS])
    written = runtime.write_block(ids[-BLOCK_READS:], 3)
    expected = uncached_logits(model(), ids + written.tokens)[len(ids) - 1 : -1]
    assert torch.allclose(written.logits, expected, atol=TOLERANCE)
