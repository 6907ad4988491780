"""Build the configuration and the untrained weights of a model from a recipe's ``[model]``.

A draft is the target's own architecture class with a smaller hidden size and fewer layers
(paper, section on draft architecture); its vocabulary is the target's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastdraft_core.errors import FastdraftError
from fastdraft_core.models.folders import local_folder, refuse_code

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

    from fastdraft_core.training.recipe import ModelShape


#: Configuration keys that are a head's width: of its vectors, and under the root that scales its scores.
_HEAD_WIDTHS = ("head_dim", "query_pre_attn_scalar")


def read_config(name: str, *, trust_remote_code: bool = False) -> Any:
    """The configuration of the model ``name``, a folder or a hub id; of it only config.json is read.

    Raises:
        FastdraftError: the model cannot be had, or its configuration cannot be read.
    """
    from transformers import AutoConfig

    folder = local_folder(name, weights=False)
    try:
        # Never left open: transformers would ask on the terminal.
        return AutoConfig.from_pretrained(folder, trust_remote_code=trust_remote_code)
    except Exception as error:
        refuse_code(error, name)
        raise FastdraftError(f"The configuration of {name} cannot be read ({error}).") from error


def model_config(shape: ModelShape, *, architecture: str, vocab_size: int, special: dict[str, Any]) -> PretrainedConfig:
    """The Hugging Face configuration of ``shape`` over ``vocab_size`` ids.

    Raises:
        FastdraftError: transformers has no such architecture, or the widths do not divide.
    """
    from transformers import AutoConfig

    if shape.hidden_size % shape.num_heads or shape.num_heads % shape.num_kv_heads:
        raise FastdraftError(
            f"hidden_size {shape.hidden_size} must be a multiple of num_heads {shape.num_heads}, "
            f"and that of num_kv_heads {shape.num_kv_heads}."
        )
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
    }
    try:
        # Some architectures give their heads the width of their published models, whatever the others are.
        own = AutoConfig.for_model(architecture, **values)
        size = shape.hidden_size // shape.num_heads
        heads = {name: size for name in _HEAD_WIDTHS if getattr(own, name, None) not in (None, size)}
        return AutoConfig.for_model(architecture, **values, **heads) if heads else own
    except ValueError as error:
        raise FastdraftError(f"transformers knows no architecture {architecture!r}; set model.architecture.") from error


def new_model(config: PretrainedConfig, *, seed: int, attention: str) -> PreTrainedModel:
    """Untrained float32 weights, the same for the same seed."""
    import torch
    from transformers import AutoModelForCausalLM

    torch.manual_seed(seed)
    return AutoModelForCausalLM.from_config(config, attn_implementation=attention, dtype=torch.float32)
