"""Model FLOPs: the arithmetic that training needs by the model's shape, whatever a device really does."""

from __future__ import annotations

from typing import Any

from fastdraft_core.training.short_head import short_head


def flops_per_token(model: Any, sequence_length: int) -> float:
    """Floating-point operations of forward and backward for one token of a row of ``sequence_length``.

    6 for every weight of a matrix product (the head counts, by the ids that it scores; an embedding that is only looked
    up does not), and 6 · width · length for each layer's causal attention: Chowdhery et al., *PaLM* (2022),
    appendix B, with half of its attention term, since half of the scores are masked.
    """
    config = model.config.get_text_config()
    matrices = sum(p.numel() for p in model.parameters() if p.ndim >= 2)
    if not config.tie_word_embeddings:
        matrices -= model.get_input_embeddings().weight.numel()
    if (short := short_head(model)) is not None:
        matrices -= (len(short.columns) - len(short.ids)) * config.hidden_size
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    attention = config.num_hidden_layers * config.num_attention_heads * head * sequence_length
    return 6.0 * (matrices + attention)
