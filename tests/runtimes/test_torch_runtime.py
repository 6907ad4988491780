"""What PyTorch alone must refuse or count: pasts that cannot be rewound, and the bytes a token reads."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from fastdraft_core.errors import FastdraftError
from fastdraft_core.runtimes.torch.runtime import TorchRuntime, refuse_unrewindable
from tests.runtimes.models import VOCABULARY, small_model


@pytest.mark.parametrize(
    ("architecture", "changes"),
    [
        ("mamba", {}),
        ("falcon_mamba", {}),
        ("rwkv", {}),
        ("recurrent_gemma", {}),
        ("jamba", {}),
        ("qwen3_next", {}),
        ("nemotron_h", {}),
        ("lfm2", {}),
        ("minimax", {}),
    ],
)
def test_a_past_that_cannot_be_rewound_is_refused(architecture: str, changes: dict[str, object]) -> None:
    """Pitfall 9: recurrent and hybrid models are refused by name, with the reason, before any weight is used."""
    from transformers import AutoConfig

    with pytest.raises(FastdraftError, match=rf"^my-model \({architecture}\).*running state"):
        refuse_unrewindable(AutoConfig.for_model(architecture, **changes), "my-model")


def test_a_model_without_a_cache_is_refused() -> None:
    """Pitfall 9: the first GPT forgets its past silently; its texts would be wrong."""
    subject = TorchRuntime(small_model("openai-gpt", n_embd=32, n_layer=1, n_head=4, n_positions=64), "old", VOCABULARY)
    with pytest.raises(FastdraftError, match=r"old \(openai-gpt\) keeps no key-value cache"):
        subject.prefill([5, 6, 7])


def test_an_encoder_decoder_is_refused() -> None:
    """A translation model is no causal language model, and the message says so."""
    from transformers import AutoConfig

    with pytest.raises(FastdraftError, match="encoder-decoder"):
        refuse_unrewindable(AutoConfig.for_model("t5"), "t5-small")


@pytest.mark.shared
def test_the_card_counts_what_a_token_reads(shared: Path) -> None:
    """Pitfall 23: a tied table is read whole as the head; of an untied one a token reads one row."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(shared / "models" / "stories260K", dtype=torch.float32)
    stories = TorchRuntime(model, "stories260K", 512)
    assert stories.card.parameters == 260_032
    assert stories.card.weight_bytes == 4 * 260_032
    # 5 layers, 4 key-value heads of 8, keys and values, float32.
    assert stories.kv_bytes_per_token == 2 * 5 * 4 * 8 * 4
    untied = TorchRuntime(small_model("llama"), "llama", VOCABULARY).card
    assert untied.weight_bytes == 4 * (untied.parameters - VOCABULARY * 32)
