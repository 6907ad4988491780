"""A head that scores some ids alone, on every runtime: the same logits, for less work, in one step and in whole blocks."""

from __future__ import annotations

import copy

import pytest
import torch

from fastdraft_core.errors import FastdraftError
from fastdraft_core.runtimes.base import BLOCK_READS, POINTS, BlockRuntime
from fastdraft_core.runtimes.openvino.loading import load_ir
from fastdraft_core.runtimes.torch.runtime import TorchRuntime
from tests.runtimes.every import EXACT, RUNTIMES, ir_folder, on
from tests.runtimes.models import VOCABULARY, small_model

LIST = [2, 3, 5, 8, 13, 21, 34, 55, 89]
IDS = [3, 5, 7, 11, 60, 70, 2, 9]


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("architecture", ["llama", "gpt2", "gemma2", "phi3"])
def test_logits_are_those_of_the_whole_head(runtime: str, architecture: str) -> None:
    """Tied or not, and where the logits are capped afterwards; input ids may be any."""
    model = small_model(architecture)
    whole, short = on(runtime, model, architecture), on(runtime, model, architecture, head_ids=LIST)
    assert (whole.head_ids, short.head_ids, short.vocab_size) == (None, LIST, VOCABULARY)
    torch.testing.assert_close(short.prefill(IDS[:4]), whole.prefill(IDS[:4])[LIST], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(short.forward(IDS[4:]), whole.forward(IDS[4:])[:, LIST], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_a_written_block_is_what_the_steps_would_be(architecture: str) -> None:
    """Unrolled blocks choose ids, not columns, and tell the law that each was drawn from."""
    runtime = on("openvino", small_model(architecture), architecture, head_ids=LIST)
    assert isinstance(runtime, BlockRuntime)
    for greedy in (True, False):
        runtime.prepare_blocks(4, greedy=greedy)
        runtime.prefill(IDS[:-BLOCK_READS])
        points = [] if greedy else [POINTS // 7, POINTS // 2, POINTS - 1, 1]
        written = runtime.write_block(IDS[-BLOCK_READS:], 4, 0 if greedy else 0.7, points)
        assert set(written.tokens) <= set(LIST)
        read = runtime.prefill(IDS)
        for number, token in enumerate(written.tokens):
            torch.testing.assert_close(written.logits[number], read, atol=2e-4, rtol=1e-4)
            if written.q is None:
                assert token == LIST[int(read.argmax())]
            else:
                law = (read / 0.7).softmax(-1)
                torch.testing.assert_close(written.q[number], law, atol=3e-5, rtol=0)
                assert float(law[: LIST.index(token)].sum()) <= points[number] / POINTS + 1e-4
            read = runtime.forward([token])[0]


@pytest.mark.parametrize("weights", ["original", "int8_asym", "int4_asym:32"])
def test_weights_stay_as_they_are_stored(weights: str) -> None:
    """Rows are cut out of integers as integers, whole bytes at a time; a token reads less, and no parameter is gone."""
    model = small_model("llama", hidden_size=64, vocab_size=512)
    folder, listed = ir_folder(model, weights), list(range(0, 512, 8))
    whole = load_ir(folder, "whole", 512, EXACT)
    short = load_ir(folder, "short", 512, EXACT, head_ids=listed)
    torch.testing.assert_close(short.prefill(IDS), whole.prefill(IDS)[listed], atol=1e-4, rtol=1e-4)
    assert short.card.weight_bytes < whole.card.weight_bytes
    assert (short.card.parameters, short.card.draft_vocab) == (whole.card.parameters, 64)


def test_a_torch_card_tells_what_a_token_reads() -> None:
    """The rows that are scored count, a table that is only looked up does not."""
    model = small_model("llama", tie_word_embeddings=True)
    whole = TorchRuntime(copy.deepcopy(model), "whole", VOCABULARY).card
    short = TorchRuntime(copy.deepcopy(model), "short", VOCABULARY, LIST).card
    assert whole.weight_bytes - short.weight_bytes == (VOCABULARY - len(LIST)) * 32 * 4
    assert (short.parameters, short.draft_vocab) == (whole.parameters, len(LIST))
    with pytest.raises(FastdraftError, match="no head with 98 rows"):
        TorchRuntime(copy.deepcopy(model), "short", VOCABULARY, [1, 97])
