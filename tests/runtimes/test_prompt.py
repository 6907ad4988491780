"""A prompt is read in passes, and what the cache still has of it is not read again: outputs are the same to the bit."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fastdraft_core.decoding.drafters import ModelDrafter
from fastdraft_core.decoding.records import First, Request
from fastdraft_core.decoding.sampling import Sampling
from fastdraft_core.decoding.speculative import autoregressive, speculative
from fastdraft_core.errors import FastdraftError
from fastdraft_core.runtimes.base import Runtime
from fastdraft_core.runtimes.prompt import PREFILL_CHUNK, PromptCache
from tests.runtimes.every import RUNTIMES, on
from tests.runtimes.models import VOCABULARY, WINDOW, noisy, small_model, uncached_logits

CHUNK = 4
LONG = 3 * PREFILL_CHUNK + 5


@cache
def subject_of(runtime: str, architecture: str, number: int = 0) -> Runtime:
    del number
    return on(runtime, small_model(architecture), architecture)


@cache
def long_pair(runtime: str) -> tuple[Runtime, Runtime]:
    model = small_model("llama", max_position_embeddings=1024)
    return on(runtime, model), on(runtime, noisy(model, 0.2))


def ids_like(seed: int, count: int) -> list[int]:
    return torch.randint(3, VOCABULARY, (count,), generator=torch.Generator().manual_seed(seed)).tolist()


#: The tokens that a prompt shares with the one before, those of its own, and those decoded after it, of which some are taken back.
PROMPTS = st.lists(
    st.tuples(st.integers(0, 24), st.integers(0, 12), st.integers(0, 5), st.integers(0, 8)), min_size=1, max_size=5
)


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("architecture", ["llama", "phi3", "falcon"])
@settings(max_examples=15, derandomize=True)
@given(prompts=PROMPTS)
def test_whatever_was_read_before_a_prompt_gives_the_same_bits(
    runtime: str, architecture: str, prompts: list[tuple[int, int, int, int]]
) -> None:
    """Logits after the prompt and after a block behind it are those of a cache that begins empty; beginnings in whole passes are kept."""
    used, fresh = (subject_of(runtime, architecture, number) for number in (0, 1))
    before: list[int] = []
    for number, (shared, own, decoded, back) in enumerate(prompts):
        prompt = before[:shared] + ids_like(number, own + 1)
        # A pass of another size shares nothing with these.
        fresh.prefill([3], chunk=1)  # type: ignore[call-arg]
        logits = used.prefill(prompt, chunk=CHUNK)  # type: ignore[call-arg]
        assert torch.equal(logits, fresh.prefill(prompt, chunk=CHUNK))  # type: ignore[call-arg]
        assert used.kept.tokens >= min(shared, len(before), len(prompt) - 1) // CHUNK * CHUNK
        block = ids_like(number + 100, decoded + 1)
        assert torch.equal(used.forward(block), fresh.forward(block))
        assert used.length == len(prompt) + len(block)
        used.rewind(max(0, used.length - back))
        before = prompt[: used.length]


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("architecture", ["llama", "phi3", "gpt2"])
def test_passes_over_a_prompt_give_what_one_pass_gives(runtime: str, architecture: str) -> None:
    """Cutting a prompt into passes changes rounding at most, past a window too."""
    prompt = ids_like(1, 3 * WINDOW)
    logits = subject_of(runtime, architecture).prefill(prompt, chunk=CHUNK)  # type: ignore[call-arg]
    assert torch.allclose(logits, uncached_logits(small_model(architecture), prompt)[-1], atol=2e-4)


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("sampling", [Sampling(), Sampling(0.9)])
def test_a_long_prompt_is_read_once_for_all_runs(runtime: str, sampling: Sampling) -> None:
    """Warm-up, both modes and every gamma: texts are those of fresh caches, and the target reads the prompt for the first one alone."""
    target, draft = long_pair(runtime)
    request = Request(ids_like(7, LONG), 12, sampling, seed=3)

    def run(gamma: int) -> tuple[list[int], First]:
        records = list(
            speculative(target, ModelDrafter(draft), request, gamma) if gamma else autoregressive(target, request)
        )
        assert isinstance(records[0], First)
        return [t for r in records for t in r.emitted], records[0]

    fresh = []
    for gamma in (0, 2, 5):
        for model in (target, draft):
            model.prefill([3])
        fresh.append(run(gamma))
    assert [first.kept for _, first in fresh] == [0, 0, 0]
    target.prefill([3])
    again = [run(gamma) for gamma in (0, 2, 5, 0)]
    assert [text for text, _ in again] == [*(text for text, _ in fresh), fresh[0][0]]
    assert [first.kept for _, first in again] == [0, LONG, LONG, LONG]
    assert draft.kept.tokens == LONG - 1, "the last token is the first block's"
    # What was read before counts as the time to the first token.
    assert all(first.seconds >= target.kept.seconds > 0 for _, first in again[1:])


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_reading_is_called_off_between_two_passes_and_goes_on_there(runtime: str) -> None:
    """The next request for the same prompt begins where this one stopped."""
    target, _ = long_pair(runtime)
    prompt = ids_like(11, LONG)
    target.prefill([3])
    reading = target.reading(prompt)
    assert [next(reading) for _ in range(3)] == [0, PREFILL_CHUNK, 2 * PREFILL_CHUNK]
    reading.close()  # type: ignore[attr-defined]
    rest = list(target.reading(prompt))
    assert rest == [2 * PREFILL_CHUNK, 3 * PREFILL_CHUNK, LONG]
    logits = target.prefill(prompt)
    assert target.kept.tokens == LONG
    target.prefill([3])
    assert torch.equal(logits, target.prefill(prompt))


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_prompt_longer_than_the_context_is_refused_before_it_is_read(runtime: str) -> None:
    """Nobody waits for the passes that fit."""
    target, _ = long_pair(runtime)
    target.prefill([3])
    with pytest.raises(FastdraftError, match="1024"):
        target.reading(ids_like(1, 1025))
    assert target.length == 1


def test_only_what_is_not_there_is_read() -> None:
    """Every token that a model is given, in the order of its passes."""
    given: list[list[int]] = []

    def read(ids: list[int]) -> torch.Tensor:
        given.append(ids)
        return torch.zeros(1)

    prompt = PromptCache(read, lambda length: None)
    prompt.logits([1, 2, 3, 4, 5, 6], 2)
    prompt.logits([1, 2, 3, 4, 5, 6], 2)
    prompt.logits([1, 2, 3, 4, 5, 6, 7], 2)
    prompt.logits([1, 2, 3, 9], 2)
    assert given == [[1, 2], [3, 4], [5, 6], [7], [3, 9]]
    prompt.forget(1)
    prompt.logits([1, 2, 3, 9], 2)
    assert given[5:] == [[1, 2], [3, 9]], "a pass that was cut into is made again"


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_adopted_tokens_serve_the_next_prompt_and_no_other(runtime: str) -> None:
    """A conversation goes on from what was decoded; a prompt after it is read anew, to the bit as ever."""
    used, fresh = (subject_of(runtime, "llama", number) for number in (2, 3))
    prompt, answer, question = ids_like(1, 9), ids_like(2, 5), ids_like(3, 7)
    used.prefill(prompt)
    used.forward(answer)
    used.adopt([*prompt, *answer])
    turn = used.prefill([*prompt, *answer, *question])
    assert used.kept.tokens == len(prompt) + len(answer)
    torch.testing.assert_close(turn, fresh.prefill([*prompt, *answer, *question]), atol=1e-4, rtol=1e-4)
    other = [*prompt, *answer, *ids_like(4, 3)]
    assert torch.equal(used.prefill(other), fresh.prefill(other))
    assert used.kept.tokens == 0
