"""SmolLM2-135M-Instruct as people have it: its ids, its probabilities and its text are llama.cpp's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from fastdraft_core.models.gguf.facts import gguf_facts
from tests.models.gguf.llama_cpp import LlamaCpp
from tests.models.gguf.test_tokenizer import CORPUS

#: What llama.cpp's tokenizer gave for the file.
GOLDEN = {
    "Hello world": [19556, 905],
    "The world, it's 12345!": [504, 905, 28, 357, 506, 216, 33, 34, 35, 36, 37, 17],
    "def f(x):\n    return x\n": [1604, 275, 24, 104, 727, 472, 1003, 1792, 198],
    "<|im_start|>user\nHi<|im_end|>\n": [1, 4093, 198, 26843, 2, 198],
    "東京 🙂": [30679, 126, 16736, 122, 47526],
}
TEXT = (
    "The capital of France is Paris. The quick brown fox jumps over the lazy dog. def add(a, b):\n    return a + b\n\n"
    "print(add(1, 2))"
)


pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def tokenizer(smollm2_folder: Path) -> Any:
    """Its tokenizer as every command loads it."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(smollm2_folder)


@pytest.fixture(scope="module")
def peer(smollm2_gguf: Path) -> LlamaCpp:
    """llama.cpp with the same file."""
    return LlamaCpp(smollm2_gguf)


def test_golden_ids(tokenizer: Any) -> None:
    """Without llama.cpp too: transformers' own conversion made every space the end of the text."""
    for text, ids in GOLDEN.items():
        assert tokenizer(text).input_ids == ids
        assert tokenizer.decode(ids) == text


@pytest.mark.parametrize("name", CORPUS)
def test_ids_are_those_of_llama_cpp(name: str, tokenizer: Any, peer: LlamaCpp) -> None:
    """Code, prose, numbers, emoji, CJK and special tokens."""
    assert tokenizer(CORPUS[name]).input_ids == peer.ids(CORPUS[name])


def test_probabilities_and_text_are_those_of_llama_cpp(smollm2_folder: Path, tokenizer: Any, peer: LlamaCpp) -> None:
    """The same token comes first unless two are as good as equal; the rest is what llama.cpp loses by 8-bit activations.

    Measured: 0.0000 to 0.0074 nats between the two, of which bfloat16 weights instead of float32 are at most 0.0002.
    """
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(smollm2_folder, dtype=torch.float32).eval()
    ids = tokenizer(TEXT).input_ids
    with torch.inference_mode():
        here = model(torch.tensor([ids])).logits[0].log_softmax(-1)
    for place in range(3, len(ids), 6):
        there = peer.log_probabilities(ids[: place + 1], len(tokenizer))
        assert torch.nn.functional.kl_div(there, here[place], log_target=True, reduction="sum") < 0.02
        best, second = there.topk(2).values
        if best - second > 0.2:
            assert here[place].argmax() == there.argmax()
    begun = ids[:5]
    with torch.inference_mode():
        text = model.generate(torch.tensor([begun]), max_new_tokens=5, do_sample=False)[0, len(begun) :].tolist()
    assert text == peer.greedy(begun, 5)


def test_lists_tell_what_it_is(smollm2_gguf: Path, smollm2_folder: Path) -> None:
    """From the header alone; the vocabulary has the name that the imported tokenizer has."""
    from fastdraft_core.models.fingerprint import fingerprint
    from fastdraft_core.models.local_models import vocabulary

    facts = gguf_facts(smollm2_gguf)
    assert facts is not None
    assert (facts.architecture, facts.quantization, facts.vocab_size) == ("LlamaForCausalLM", "Q4_1", 49152)
    assert (facts.context, facts.parameters) == (8192, 134_515_008)
    assert (facts.tokenizer, facts.num_tokens) == fingerprint(vocabulary(smollm2_folder))
