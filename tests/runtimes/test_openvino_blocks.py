"""Blocks that a draft writes by itself, in one call: the tokens, logits and laws of the same draft step by step."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fastdraft_core.decoding.drafters import ModelDrafter
from fastdraft_core.decoding.losslessness import accept_all, check_law
from fastdraft_core.decoding.records import Request
from fastdraft_core.decoding.sampling import Sampling
from fastdraft_core.runtimes.base import BLOCK_READS, POINTS, BlockRuntime, Runtime
from fastdraft_core.runtimes.openvino import blocks
from fastdraft_core.runtimes.openvino.loading import load_ir
from tests.runtimes.every import EXACT, ir_folder, on
from tests.runtimes.models import ARCHITECTURES, CONTEXT, VOCABULARY, noisy, small_model, uncached_logits

TOLERANCE = 2e-4


def writer(architecture: str = "llama", vocab_size: int = 0) -> BlockRuntime:
    runtime = on("openvino", small_model(architecture), architecture, vocab_size)
    if not isinstance(runtime, BlockRuntime):
        pytest.skip(f"{architecture} keeps its keys and values inside the model")
    return runtime


def ids_like(seed: int, count: int) -> list[int]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(3, VOCABULARY, (count,), generator=generator).tolist()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_written_block_is_what_the_steps_would_be(architecture: str) -> None:
    """Every architecture that can be paged: the tokens chosen and the logits after each are those of a fresh model."""
    runtime, model = writer(architecture), small_model(architecture)
    ids = ids_like(7, 21)
    for count in (1, 2, 5):
        runtime.prepare_blocks(count, greedy=True)
        assert runtime.writes_blocks(count, greedy=True)
        runtime.prefill(ids[:-BLOCK_READS])
        written = runtime.write_block(ids[-BLOCK_READS:], count)
        assert written.q is None
        expected = uncached_logits(model, ids + written.tokens)[len(ids) - 1 : -1]
        assert torch.allclose(written.logits, expected, atol=TOLERANCE)
        assert written.tokens == expected.argmax(-1).tolist()
        # All but the last one are cached: reading it goes on.
        assert runtime.length == len(ids) + count - 1
        after = runtime.forward(written.tokens[-1:])
        assert torch.allclose(after, uncached_logits(model, ids + written.tokens)[-1:], atol=TOLERANCE)


@settings(max_examples=25, derandomize=True)
@given(
    prompt=st.integers(1, 40),
    temperature=st.floats(0.1, 3),
    points=st.lists(st.integers(0, POINTS - 1), min_size=3, max_size=3),
)
def test_the_law_of_a_block_is_the_softmax_of_its_logits(prompt: int, temperature: float, points: list[int]) -> None:
    """Whatever is drawn before: each row is what the token of that row was drawn from, and sums to one."""
    runtime = writer()
    runtime.prepare_blocks(3, greedy=False)
    runtime.prefill(ids_like(prompt, prompt))
    written = runtime.write_block(ids_like(1, BLOCK_READS), 3, temperature, points)
    assert written.q is not None
    assert torch.allclose(written.q, (written.logits / temperature).softmax(-1), atol=3e-5)
    assert torch.allclose(written.q.double().sum(-1), torch.ones(3, dtype=torch.float64), atol=1e-6)


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.0])
def test_points_over_the_whole_range_give_each_token_its_share(temperature: float) -> None:
    """The law that is told is the one that was drawn from, to one point in all."""
    runtime, count = writer(), 1 << 9
    runtime.prepare_blocks(1, greedy=False)
    last, prompt = ids_like(2, BLOCK_READS), ids_like(3, 9)
    drawn = torch.zeros(VOCABULARY)
    for number in range(count):
        runtime.prefill(prompt)
        written = runtime.write_block(last, 1, temperature, [(2 * number + 1) * POINTS // count // 2])
        drawn[written.tokens[0]] += 1
    assert written.q is not None
    assert float((drawn / count - written.q[0]).abs().max()) <= 2 / count


def test_a_padded_vocabulary_is_cut_before_a_token_is_chosen() -> None:
    """Pitfall 14: an id that the tokenizer does not have is never drafted, and has no logit."""
    runtime = writer(vocab_size=40)
    runtime.prepare_blocks(4, greedy=True)
    runtime.prefill([3, 4, 5])
    written = runtime.write_block([6, 7], 4)
    assert written.logits.shape == (4, 40)
    assert max(written.tokens) < 40


def test_a_block_that_outgrows_the_cache_keeps_what_is_read() -> None:
    """Room is made for both graphs of a model: past the blocks that were made first, entries move along."""
    model = small_model("llama", max_position_embeddings=1100)
    runtime = load_ir(ir_folder(model), "long", VOCABULARY, EXACT)
    assert isinstance(runtime, BlockRuntime)
    runtime.prepare_blocks(8, greedy=True)
    ids = ids_like(5, 509)
    runtime.prefill(ids[:-BLOCK_READS])
    written = runtime.write_block(ids[-BLOCK_READS:], 8)
    expected = uncached_logits(model, ids + written.tokens)[len(ids) - 1 : -1]
    assert torch.allclose(written.logits, expected, atol=TOLERANCE)


class _Counting:
    """How often a runtime was asked for a single pass."""

    def __init__(self, runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
        self.passes = 0
        read = runtime.forward

        def forward(ids: list[int]) -> torch.Tensor:
            self.passes += 1
            return read(ids)

        monkeypatch.setattr(runtime, "forward", forward)


@pytest.mark.parametrize(
    ("sampling", "passes"),
    [(Sampling(), 0), (Sampling(0.8), 0), (Sampling(0.8, top_k=5), 4), (Sampling(0.8, 0, 0.9), 4)],
)
def test_a_drafter_writes_prepared_blocks_in_one_call(
    sampling: Sampling, passes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Greedy and sampled blocks; top-k and top-p, which the graph does not apply, go step by step."""
    runtime = writer()
    drafter, ids, stream = ModelDrafter(runtime), ids_like(4, 12), torch.Generator().manual_seed(0)
    drafter.prepare(4, sampling)
    drafter.start(ids[:-1])
    counting = _Counting(runtime, monkeypatch)
    drafted, q = drafter.propose(ids, 4, sampling, stream)
    assert (len(drafted), counting.passes) == (4, passes)
    assert (q is None) == sampling.greedy
    assert len(drafter.logits) == 4


def test_blocks_that_were_not_prepared_go_step_by_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last block of a text is shorter, and a draft too large for a graph beside it has none: the same tokens."""
    runtime = writer()
    drafter, ids, stream = ModelDrafter(runtime), ids_like(4, 12), torch.Generator()
    drafter.prepare(3, Sampling())
    drafter.start(ids[:-1])
    counting = _Counting(runtime, monkeypatch)
    expected, _ = drafter.propose(ids, 3, Sampling(), stream)
    drafter.keep(len(ids) - 1)
    assert drafter.propose(ids, 2, Sampling(), stream)[0] == expected[:2]
    assert counting.passes == 2
    monkeypatch.setattr(blocks, "_MOST_BYTES", 0)
    drafter.prepare(6, Sampling())
    assert not runtime.writes_blocks(6, greedy=True)


def test_a_block_at_the_end_of_the_context_is_as_short_as_what_is_left() -> None:
    """All drafted tokens but the last are read, so one more than the room is drafted."""
    runtime = writer()
    drafter, ids = ModelDrafter(runtime), ids_like(6, CONTEXT - 2)
    for count in (1, 2, 3, 4):
        drafter.prepare(count, Sampling())
    drafter.start(ids[:-1])
    drafted, _ = drafter.propose(ids, 4, Sampling(), torch.Generator())
    assert len(drafted) == 3
    assert runtime.length == CONTEXT


def test_the_law_of_sampled_decoding_holds_with_written_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The proof of ``fastdraft verify`` goes through the blocks that decoding uses; accepting everything fails it."""
    target = on("openvino", small_model("llama"), "target")
    draft = on("openvino", noisy(small_model("llama"), 0.5), "draft")
    assert isinstance(draft, BlockRuntime)
    written: list[int] = []
    write = draft.write_block
    monkeypatch.setattr(draft, "write_block", lambda *given: (written.append(given[1]), write(*given))[1])
    request = Request(ids_like(8, 6), 8, Sampling(1.5))
    assert all(check.passed for check in check_law(target, ModelDrafter(draft), request, 3, 800))
    assert set(written) == {3}
    assert not all(check.passed for check in check_law(target, ModelDrafter(draft), request, 3, 800, accept_all))
