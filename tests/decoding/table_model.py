"""A real transformer that says exactly what a table ``[V, V, V]`` says after two tokens, for runtimes with a real cache.

One attention head looks one token back, one neuron a pair of tokens writes that pair's row of logits. All norms are
divisors known beforehand, so that the logits are the table's to float32 rounding.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from tests.decoding.table import Array

CONTEXT = 4096
_HEAD = 32
#: Sharp enough that a token two back weighs e^-25.
_FOCUS = 100.0
_THETA = 10.0
#: What stands for minus infinity: e^-60 is nothing.
_NEVER = -60.0
_RADIUS = 400.0
_GATE = 80.0


def table_model(table: Array) -> Any:
    """A one-layer Llama whose logits after tokens a, b are ``table[a, b]``; the first token's are arbitrary."""
    from transformers import LlamaConfig, LlamaForCausalLM

    size = len(table)
    # The parts of the stream: this token, the one before, a one, the logits, and what makes their length constant.
    this, before, one, logits, rest = 0, size, 2 * size, 2 * size + 1, 3 * size + 1
    hidden = 3 * size + 2
    config = LlamaConfig(
        vocab_size=size, hidden_size=hidden, num_hidden_layers=1, num_attention_heads=1, num_key_value_heads=1,
        head_dim=_HEAD, intermediate_size=size * size, max_position_embeddings=CONTEXT, rms_norm_eps=1e-12,
        tie_word_embeddings=False, bos_token_id=None, eos_token_id=None, pad_token_id=None,
        rope_parameters={"rope_type": "default", "rope_theta": _THETA},
    )  # fmt: skip
    model = LlamaForCausalLM(config).eval()
    layer = model.model.layers[0]
    every = torch.arange(size)
    with torch.no_grad():
        for weights in model.parameters():
            weights.zero_()
        model.model.embed_tokens.weight[every, this + every] = 1.0
        model.model.embed_tokens.weight[:, one] = 1.0
        layer.input_layernorm.weight.fill_((2 / hidden) ** 0.5)
        half = _HEAD // 2
        turn = _THETA ** (-torch.arange(half, dtype=torch.float64) * 2 / _HEAD)
        layer.self_attn.q_proj.weight[:half, one] = _FOCUS**0.5
        # A key turned by one position more meets the query of the next token best.
        layer.self_attn.k_proj.weight[:half, one] = (_FOCUS**0.5 * turn.cos()).float()
        layer.self_attn.k_proj.weight[half:, one] = (_FOCUS**0.5 * turn.sin()).float()
        layer.self_attn.v_proj.weight[every, this + every] = 1.0
        layer.self_attn.o_proj.weight[before + every, every] = 1.0
        layer.post_attention_layernorm.weight.fill_((3 / hidden) ** 0.5)
        pairs = torch.arange(size * size)
        gate = layer.mlp.gate_proj.weight
        gate[pairs, before + pairs // size], gate[pairs, this + pairs % size] = _GATE, _GATE
        gate[:, one] = -1.5 * _GATE
        layer.mlp.up_proj.weight[:, one] = 2 / _GATE
        layer.mlp.down_proj.weight.copy_(rows_of(table))
        model.model.norm.weight.fill_(((3 + _RADIUS**2) / hidden) ** 0.5)
        model.lm_head.weight[every, logits + every] = 1.0
    assert layer.mlp.down_proj.weight[rest].abs().max() > 0
    return model


def rows_of(table: Array) -> torch.Tensor:
    """The weights ``[hidden, V·V]`` that hold the table: each pair's logits and the rest of a constant length."""
    size = len(table)
    rows = np.maximum(table.reshape(size * size, size), _NEVER)
    weights = np.zeros((3 * size + 2, size * size))
    weights[2 * size + 1 : 3 * size + 1] = rows.T
    weights[3 * size + 1] = np.sqrt(_RADIUS**2 - (rows**2).sum(1))
    return torch.tensor(weights, dtype=torch.float32)
