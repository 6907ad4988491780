"""Packed weights on PyTorch: the model is the one whose weights are rounded by definition, in both modes."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

from fastdraft_core.decoding.drafters import ModelDrafter
from fastdraft_core.decoding.records import Pass, Request
from fastdraft_core.decoding.speculative import autoregressive, speculative
from fastdraft_core.errors import FastdraftError
from fastdraft_core.runtimes.torch.packed import check_weights_format, pack
from fastdraft_core.runtimes.torch.runtime import TorchRuntime
from tests.runtimes.models import noisy, small_model, uncached_logits

GROUP = 64
IDS = [5, 9, 30, 77, 12, 101]


def model(tied: bool = False) -> Any:
    """Every matrix has a shape that the kernels take."""
    return copy.deepcopy(
        small_model(
            "llama",
            vocab_size=192,
            hidden_size=128,
            intermediate_size=192,
            num_key_value_heads=4,
            tie_word_embeddings=tied,
        )
    )


def packed(weights: str, source: Any) -> Any:
    pack(source, weights)
    return source


def rounded(weights: str, source: Any) -> Any:
    """Its matrices as the formats define them: 8 bits a weight and a scale a row, or 4 and a scale and an offset for 64 neighbours."""
    for name, layer in source.named_modules():
        if isinstance(layer, nn.Linear):
            rows = layer.weight.detach()
            if weights == "int8" or name == "lm_head":
                scale = rows.abs().amax(1, keepdim=True) / 127
                values = (rows / scale).round() * scale
            else:
                groups = rows.unflatten(1, (-1, GROUP))
                low, scale = (
                    groups.amin(-1, keepdim=True),
                    (groups.amax(-1, keepdim=True) - groups.amin(-1, keepdim=True)) / 15,
                )
                values = (((groups - low) / scale).round() * scale + low).flatten(1)
            layer.weight = nn.Parameter(values)
    return source


@pytest.mark.parametrize("weights", ["int8", "int4"])
@pytest.mark.parametrize("tied", [False, True])
def test_logits_are_those_of_the_rounded_weights(weights: str, tied: bool) -> None:
    """A table that is tied to the head stays whole, so it is untied in the reference."""
    expected = uncached_logits(rounded(weights, _untied(model(tied))), IDS)
    runtime = TorchRuntime(packed(weights, model(tied)), "packed", 192)
    logits = torch.stack([runtime.prefill(IDS[:3]), *runtime.forward(IDS[3:])])
    assert torch.allclose(logits, expected[2:], atol=2e-3 * float(expected.abs().max()))


def _untied(source: Any) -> Any:
    head = nn.Linear(128, 192, bias=False)
    head.weight = nn.Parameter(source.lm_head.weight.detach().clone())
    source.lm_head = head
    return source


@pytest.mark.parametrize("weights", ["int8", "int4"])
def test_both_modes_write_the_same_text(weights: str) -> None:
    """Greedy, in float32, packed target and packed draft."""
    target = TorchRuntime(packed(weights, model()), "target", 192)
    drafter = ModelDrafter(TorchRuntime(packed(weights, noisy(model(), 0.1)), "draft", 192))
    request = Request(IDS, 24)
    expected = [t for r in autoregressive(target, request) for t in r.emitted]
    records = list(speculative(target, drafter, request, 4))
    assert [t for r in records for t in r.emitted] == expected
    assert sum(r.accepted for r in records if isinstance(r, Pass))


def test_the_card_tells_real_sizes() -> None:
    """Parameters are the model's, bytes those that a token reads: a byte a weight and its scales, the table one row."""
    whole = TorchRuntime(model(), "whole", 192).card
    cards = {weights: TorchRuntime(packed(weights, model()), weights, 192).card for weights in ("int8", "int4")}
    assert {card.parameters for card in cards.values()} == {whole.parameters}
    assert [card.precision for card in cards.values()] == ["int8 weights, float32", "int4 weights, float32"]
    matrices = 192 * 128 + 2 * (4 * 128 * 128 + 3 * 192 * 128)
    assert matrices < cards["int8"].weight_bytes < 1.1 * matrices
    assert cards["int4"].weight_bytes < 0.75 * matrices


def test_a_draft_vocabulary_comes_out_of_a_packed_head() -> None:
    """The rows of the list, as they are stored."""
    listed = [3, 17, 100]
    whole = TorchRuntime(packed("int8", model()), "whole", 192)
    short = TorchRuntime(packed("int8", model()), "short", 192, listed)
    assert torch.allclose(short.prefill(IDS), whole.prefill(IDS)[listed], atol=1e-4)


def test_what_is_not_served_is_refused() -> None:
    """Another format, another device, a model without plain matrices."""
    with pytest.raises(
        FastdraftError, match=r"no weights 'int8_sym'; use int8, int4 or original, or --runtime openvino"
    ):
        check_weights_format("int8_sym", "cpu")
    with pytest.raises(FastdraftError, match="on the CPU alone"):
        check_weights_format("int4", "cuda")
    with pytest.raises(FastdraftError, match="gpt2 has no linear layer"):
        pack(small_model("gpt2"), "int8")
