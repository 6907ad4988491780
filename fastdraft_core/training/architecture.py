"""Build the configuration and the untrained weights of a model from a recipe's ``[model]``.

A draft is the target's own architecture class with a smaller hidden size and fewer layers
(paper, section on draft architecture); its vocabulary is the target's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastdraft_core.errors import FastdraftError, short_error
from fastdraft_core.models.folders import load_config, local_folder
from fastdraft_core.training.shape_check import WAY_OUT, check_shape, usable_attention

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

    from fastdraft_core.training.recipe import ModelShape


#: Configuration keys that are a head's width: of its vectors, and under the root that scales its scores.
_HEAD_WIDTHS = ("head_dim", "query_pre_attn_scalar", "rotary_dim")
#: Keys of single architectures for what the others call intermediate_size, hidden_size, and so on.
_OTHER_NAMES = {
    "ffn_dim": "intermediate_size",
    "n_inner": "intermediate_size",
    "ffn_hidden_size": "intermediate_size",
    "word_embed_proj_dim": "hidden_size",
    "num_kv_heads": "num_kv_heads",
    "max_seq_len": "context_length",
}


def read_config(name: str, *, trust_remote_code: bool = False) -> Any:
    """The configuration of the model ``name``, a folder or a hub id; of it only config.json is read.

    Raises:
        FastdraftError: the model cannot be had, or its configuration cannot be read.
    """
    return load_config(local_folder(name, weights=False), name, trust_remote_code=trust_remote_code)


def model_config(shape: ModelShape, *, architecture: str, vocab_size: int, special: dict[str, Any]) -> PretrainedConfig:
    """The Hugging Face configuration of ``shape`` over ``vocab_size`` ids.

    Raises:
        FastdraftError: transformers has no such architecture, the widths do not divide, or the architecture makes another
            network of them.
    """
    from transformers import CONFIG_MAPPING, AutoConfig

    if shape.hidden_size % shape.num_heads or shape.num_heads % shape.num_kv_heads:
        raise FastdraftError(
            f"hidden_size {shape.hidden_size} must be a multiple of num_heads {shape.num_heads}, "
            f"and that of num_kv_heads {shape.num_kv_heads}."
        )
    if architecture not in CONFIG_MAPPING:
        raise FastdraftError(f"transformers knows no architecture {architecture!r}; {WAY_OUT}.")
    values = {
        "vocab_size": vocab_size,
        "hidden_size": shape.hidden_size,
        "num_hidden_layers": shape.num_layers,
        "num_attention_heads": shape.num_heads,
        "num_key_value_heads": shape.num_kv_heads,
        "intermediate_size": shape.intermediate_size,
        "max_position_embeddings": shape.context_length,
        "tie_word_embeddings": shape.tie_embeddings,
        **special,
        **_own_ways(architecture, shape),
    }
    try:
        # Some architectures give their heads the width of their published models, whatever the others are.
        own = AutoConfig.for_model(architecture, **values)
        size = shape.hidden_size // shape.num_heads
        values |= {name: size for name in _HEAD_WIDTHS if getattr(own, name, None) not in (None, size)}
        values |= {name: getattr(shape, ours) for name, ours in _OTHER_NAMES.items() if hasattr(own, name)}
        config = AutoConfig.for_model(architecture, **values)
    except Exception as error:
        raise FastdraftError(
            f"transformers makes no {architecture} of [model] ({short_error(error)}). Instead {WAY_OUT}."
        ) from error
    check_shape(config, shape)
    return config


def _own_ways(architecture: str, shape: ModelShape) -> dict[str, Any]:
    """What single architectures want to be told in other words than widths and counts."""
    if architecture == "gpt_neo":
        return {"attention_types": [[["global"], shape.num_layers]]}
    if architecture == "falcon":
        # The older form has one key-value head, or as many as there are heads.
        return {"new_decoder_architecture": True}
    if architecture == "gpt_bigcode":
        return {"multi_query": shape.num_kv_heads == 1}
    if architecture == "mpt" and shape.intermediate_size % shape.hidden_size == 0:
        return {"expansion_ratio": shape.intermediate_size // shape.hidden_size}
    return {}


def new_model(config: PretrainedConfig, *, seed: int, attention: str) -> PreTrainedModel:
    """Untrained float32 weights, the same for the same seed; plain attention where the architecture has none but that."""
    import torch
    from transformers import AutoModelForCausalLM

    torch.manual_seed(seed)
    usable = usable_attention(config, attention)
    return AutoModelForCausalLM.from_config(config, attn_implementation=usable, dtype=torch.float32)
