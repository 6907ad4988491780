"""Small models with random float32 weights, built from their configurations: nothing is downloaded."""

from __future__ import annotations

from copy import deepcopy
from functools import cache
from typing import Any

import torch

VOCABULARY = 97
CONTEXT = 128
WINDOW = 8

_COMMON = dict(
    vocab_size=VOCABULARY,
    hidden_size=32,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    intermediate_size=48,
    max_position_embeddings=CONTEXT,
    pad_token_id=0,
    bos_token_id=1,
    eos_token_id=2,
)
_GEMMA = dict(head_dim=8, sliding_window=WINDOW)
#: Plain attention, windows on all layers, windows on some, learned positions, ALiBi, and no scaled_dot_product_attention.
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "llama": {},
    "qwen2": dict(use_sliding_window=True, sliding_window=WINDOW, max_window_layers=1),
    "phi3": dict(sliding_window=WINDOW),
    "gemma2": _GEMMA,
    "gemma3_text": dict(_GEMMA, layer_types=["sliding_attention", "full_attention"]),
    "gpt2": {},
    "falcon": dict(alibi=True),
    "bloom": {},
}


def small_model(architecture: str, seed: int = 0, **changes: Any) -> Any:
    """An untrained causal model whose best token still depends on all of its past; the caller's own, to change as it likes."""
    return deepcopy(_cached(architecture, seed, **changes))


def build_model(architecture: str, seed: int = 0, **changes: Any) -> Any:
    """As ``small_model``, for changes that cannot be hashed."""
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(architecture, **{**_COMMON, **ARCHITECTURES.get(architecture, {}), **changes})
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    for weights in model.parameters():
        if weights.dim() > 1:
            torch.nn.init.normal_(weights, std=0.15)
    return model


_cached = cache(build_model)


def noisy(model: Any, share: float, seed: int = 1) -> Any:
    """A copy that often, not always, agrees: its weights moved by ``share`` of their own spread."""
    torch.manual_seed(seed)
    copy = deepcopy(model)
    with torch.no_grad():
        for weights in copy.parameters():
            if weights.dim() > 1:
                weights += torch.randn_like(weights) * weights.std() * share
    return copy


@torch.inference_mode()
def uncached_logits(model: Any, ids: list[int]) -> torch.Tensor:
    """Logits after each of ``ids`` in one pass of transformers alone, without cache or mask of ours."""
    return model(input_ids=torch.tensor([ids]), use_cache=False).logits[0].float()
