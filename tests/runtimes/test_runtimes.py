"""Real models on every runtime: any cut into passes, with any rewinds, gives what one uncached pass gives."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fastdraft_core.decoding.drafters import ModelDrafter
from fastdraft_core.decoding.records import Pass, Request
from fastdraft_core.decoding.sampling import Sampling
from fastdraft_core.decoding.speculative import autoregressive, speculative
from fastdraft_core.errors import FastdraftError
from fastdraft_core.runtimes.base import Runtime
from tests.runtimes.every import RUNTIMES, on
from tests.runtimes.models import ARCHITECTURES, CONTEXT, VOCABULARY, WINDOW, noisy, small_model, uncached_logits

pytestmark = pytest.mark.parametrize("runtime", RUNTIMES)

TOLERANCE = 2e-4


@cache
def subject_of(runtime: str, architecture: str = "llama") -> Runtime:
    return on(runtime, small_model(architecture), architecture)


def ids_like(seed: int, count: int) -> list[int]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(3, VOCABULARY, (count,), generator=generator).tolist()


STEPS = st.lists(st.tuples(st.integers(1, 7), st.integers(0, 7)), min_size=1, max_size=6)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@settings(max_examples=8, derandomize=True)
@given(prompt=st.integers(1, 2 * WINDOW), steps=STEPS)
def test_the_cache_equals_a_fresh_prefill(
    runtime: str, architecture: str, prompt: int, steps: list[tuple[int, int]]
) -> None:
    """Pitfalls 8, 9: blocks read, any number of tokens taken back, past a window too: the logits are a fresh model's."""
    subject, model = subject_of(runtime, architecture), small_model(architecture)
    read = ids_like(prompt, prompt)
    logits = subject.prefill(read)[None]
    for number, (block, back) in enumerate(steps):
        assert torch.allclose(logits[-1], uncached_logits(model, read)[-1], atol=TOLERANCE)
        new = ids_like(100 * prompt + number, block)
        logits = subject.forward(new)
        expected = uncached_logits(model, read + new)[len(read) :]
        assert torch.allclose(logits, expected, atol=TOLERANCE)
        read = (read + new)[: len(read) + max(0, block - back)]
        logits = logits[: max(0, block - back)]
        subject.rewind(len(read))
        assert subject.length == len(read)
        if not len(logits):
            # Nothing new was kept: the last token is read again, as a block's first.
            subject.rewind(len(read) - 1)
            logits = subject.forward(read[-1:])


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_greedy_equals_transformers_own_decoding(runtime: str, architecture: str) -> None:
    """Pitfalls 5, 9, 13, 19: in float32 both modes give, token by token, the argmax of an uncached pass."""
    model = small_model(architecture)
    target = on(runtime, model)
    drafter = ModelDrafter(on(runtime, noisy(model, 0.2)))
    accepted = 0
    for seed, length in enumerate((1, 5, WINDOW + 3, 3 * WINDOW)):
        prompt, expected = ids_like(seed, length), []
        for _ in range(14):
            expected.append(int(uncached_logits(model, prompt + expected)[-1].argmax()))
        request = Request(prompt, 14)
        assert [t for r in autoregressive(target, request) for t in r.emitted] == expected
        records = list(speculative(target, drafter, request, 4))
        assert [t for r in records for t in r.emitted] == expected
        accepted += sum(r.accepted for r in records if isinstance(r, Pass))
    assert accepted, "a draft that is never accepted proves little"


@pytest.mark.parametrize("architecture", ["llama", "phi3"])
def test_many_prompts_decode_alike(runtime: str, architecture: str) -> None:
    """Pitfalls 5, 8: greedy speculative decoding is autoregressive decoding on many random prompts and gammas."""
    model = small_model(architecture, seed=3)
    target = on(runtime, model)
    drafter = ModelDrafter(on(runtime, noisy(model, 0.3)))
    for seed in range(20):
        request = Request(ids_like(seed, 1 + seed % 13), 16)
        expected = [t for r in autoregressive(target, request) for t in r.emitted]
        assert [t for r in speculative(target, drafter, request, 1 + seed % 8) for t in r.emitted] == expected


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(0.8), Sampling(1.0, top_k=20, top_p=0.9)])
def test_a_draft_that_is_the_target_is_accepted_for_200_tokens(runtime: str, sampling: Sampling) -> None:
    """Pitfalls 3, 6, 7: with real caches too every block is full, so the draft's cache lacks nothing."""
    model = small_model("llama", max_position_embeddings=256)
    target, draft = on(runtime, model), on(runtime, model)
    records = list(speculative(target, ModelDrafter(draft), Request(ids_like(1, 6), 201, sampling, seed=1), 4))
    passes = [r for r in records if isinstance(r, Pass)]
    assert [(p.accepted, len(p.emitted)) for p in passes] == [(4, 5)] * 40


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(1.0), Sampling(0.7, top_k=30, top_p=0.95)])
def test_logits_wider_than_the_vocabulary_change_nothing(runtime: str, sampling: Sampling) -> None:
    """Pitfall 14: one pair padded to three widths, with certain padding rows, decodes to the same tokens in both modes."""
    texts = set()
    for width in (VOCABULARY, VOCABULARY + 3, 128):
        padded = [_padded(small_model("llama"), width), _padded(noisy(small_model("llama"), 0.2), width)]
        target, draft = (on(runtime, model, vocab_size=VOCABULARY) for model in padded)
        request = Request(ids_like(2, 5), 24, sampling, seed=4)
        texts.add(
            tuple(tuple(t for r in records for t in r.emitted)
            for records in (autoregressive(target, request), speculative(target, ModelDrafter(draft), request, 3)))
        )  # fmt: skip
        assert target.prefill([5]).shape == (VOCABULARY,)
    assert len(texts) == 1


def _padded(model: object, width: int) -> object:
    """The model with ``width`` logits, of which the new ones would always win."""
    from copy import deepcopy

    copy = deepcopy(model)
    extra = width - VOCABULARY
    table = copy.get_input_embeddings().weight  # type: ignore[attr-defined]
    head = torch.nn.Linear(32, width, bias=True)
    with torch.no_grad():
        head.weight[:VOCABULARY], head.bias[:VOCABULARY] = copy.get_output_embeddings().weight, 0.0  # type: ignore[attr-defined]
        head.weight[VOCABULARY:], head.bias[VOCABULARY:] = 0.0, 50.0
    copy.set_output_embeddings(head)  # type: ignore[attr-defined]
    copy.set_input_embeddings(torch.nn.Embedding.from_pretrained(torch.cat([table, torch.zeros(extra, 32)])))  # type: ignore[attr-defined]
    return copy


def test_past_the_context_is_refused_by_name(runtime: str) -> None:
    """The model's own limit is a sentence, not an index error; the cache is as before."""
    subject = subject_of(runtime)
    subject.prefill(ids_like(1, CONTEXT - 1))
    with pytest.raises(FastdraftError, match=rf"llama has a context of {CONTEXT} tokens"):
        subject.forward([5, 6])
    assert subject.forward([5]).shape == (1, VOCABULARY)
