"""Every architecture: an imported model computes what the original does, and what llama.cpp does with the same file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from fastdraft_core.models.gguf.importing import import_model
from tests.models.gguf.llama_cpp import LlamaCpp
from tests.models.gguf.writing import KINDS, byte_level, untrained, write_model

VOCABULARY = byte_level("gpt-2")
#: Longer than the sliding windows of the small models.
PROMPT = [5 + (37 * place) % 290 for place in range(40)]


def load(folder: Path) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()


@torch.inference_mode()
def logits(model: Any) -> torch.Tensor:
    return model(torch.tensor([PROMPT]), use_cache=False).logits[0].float()


@pytest.mark.parametrize("name", KINDS)
def test_an_imported_model_is_the_original(name: str, tmp_path: Path) -> None:
    """Names, layouts, norms and every number of the configuration: one that is wrong moves the logits."""
    original = untrained(KINDS[name], len(VOCABULARY.tokens))
    file = write_model(tmp_path / f"{name}.gguf", KINDS[name], original, VOCABULARY)
    folder = import_model(file, name, lambda step: None)
    imported = load(folder)
    original.set_attn_implementation("eager")
    expected = logits(original)
    assert expected.std() > 0.1
    torch.testing.assert_close(logits(imported), expected, rtol=1e-4, atol=1e-4)
    there = LlamaCpp(file).log_probabilities(PROMPT, len(VOCABULARY.tokens))
    here = logits(imported)[-1].log_softmax(-1)
    # Keys and values are float16 in llama.cpp, which may decide between two that are as good as equal.
    assert there[here.argmax()] > there.max() - 0.02
    assert torch.nn.functional.kl_div(here, there, log_target=True, reduction="sum") < 1e-4
