"""The header of an exported GGUF file: what llama.cpp calls a model, its sizes and its tensors.

The same description that the import reads is written here: which parameter is which tensor, and how it lies, stands in
``models/gguf/architectures.py`` alone. What the import would not read back from the new header is refused, so a model that
llama.cpp would compute in another way is never written.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fastdraft_core.errors import FastdraftError
from fastdraft_core.models.gguf.architectures import Sizes, Weight, architecture_called, configuration, weights_of
from fastdraft_core.models.gguf.header import Metadata, TensorInfo
from fastdraft_core.models.gguf.model_file import GgufModel
from fastdraft_core.models.gguf.quantization import TENSOR_TYPES
from fastdraft_core.models.gguf.rope import Factors, llama3_factors

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedConfig, PreTrainedModel

#: llama.cpp's name for each of transformers' that can be written.
_NAMES = {
    "llama": "llama",
    "mistral": "llama",
    "qwen2": "qwen2",
    "qwen3": "qwen3",
    "phi3": "phi3",
    "gemma2": "gemma2",
    "gemma3_text": "gemma3",
    "smollm3": "smollm3",
    "olmo2": "olmo2",
    "granite": "granite",
    "gpt2": "gpt2",
}
_F32 = 0
#: What a header says of a configuration without telling it: the program itself, or ids that other files hold.
_NOT_COMPARED = frozenset({
    "architectures", "model_type", "dtype", "pad_token_id", "rope_parameters", "tie_word_embeddings"
})  # fmt: skip
_ACTIVATIONS = ("hidden_act", "hidden_activation", "activation_function")
_TOLERANCE = 1e-4


@dataclass(frozen=True, slots=True)
class Description:
    """All of a header but the tokenizer; ``weights`` in the order in which they are written, ``factors`` after them."""

    architecture: str
    metadata: Metadata
    weights: list[Weight]
    factors: dict[str, tuple[float, ...]]


def describe(model: PreTrainedModel, name: str) -> Description:
    """What is written of ``model``, which people call ``name``.

    Raises:
        FastdraftError: llama.cpp has no such architecture, or a part of it could not be told or would be left out.
    """
    config = model.config
    architecture = _NAMES.get(config.model_type)
    if architecture is None:
        raise FastdraftError(
            f"{name} is a {config.model_type} model, which cannot be written as GGUF; these can: {', '.join(_NAMES)}. "
            "Export it with --to hf instead."
        )
    parameters = dict(model.named_parameters())
    sizes = _sizes(config)
    factors = _factors(config, sizes.head)
    metadata = {"general.architecture": architecture, **_sizes_told(architecture, config, sizes)}
    seen = _as_read(metadata, _seeds(parameters))
    weights = architecture_called(architecture).weights(seen, sizes)
    _refuse_other_weights(parameters, weights, name)
    _refuse_other_configuration(_as_read(metadata, {w.source: w.shape for w in weights}), config, sizes, factors, name)
    named = {
        "rope_freqs.weight": factors.frequencies,
        "rope_factors_long.weight": factors.long,
        "rope_factors_short.weight": factors.short,
    }
    return Description(architecture, metadata, weights, {key: value for key, value in named.items() if value})


def _sizes(config: PreTrainedConfig) -> Sizes:
    hidden, heads = config.hidden_size, config.num_attention_heads
    inner = getattr(config, "intermediate_size", None) or getattr(config, "n_inner", None) or 4 * hidden
    return Sizes(
        vocab=config.vocab_size,
        hidden=hidden,
        layers=config.num_hidden_layers,
        heads=heads,
        kv_heads=getattr(config, "num_key_value_heads", None) or heads,
        head=getattr(config, "head_dim", None) or hidden // heads,
        inner=inner,
        context=config.max_position_embeddings,
    )


def _sizes_told(architecture: str, config: PreTrainedConfig, sizes: Sizes) -> Metadata:
    told: Metadata = {
        "context_length": sizes.context,
        "block_count": sizes.layers,
        "embedding_length": sizes.hidden,
        "feed_forward_length": sizes.inner,
        "attention.head_count": sizes.heads,
        "vocab_size": sizes.vocab,
    }
    if architecture == "gpt2":
        told["attention.layer_norm_epsilon"] = float(config.layer_norm_epsilon)
    else:
        told |= {
            "attention.head_count_kv": sizes.kv_heads,
            "attention.layer_norm_rms_epsilon": float(config.rms_norm_eps),
            "attention.key_length": sizes.head,
            "attention.value_length": sizes.head,
            **_rope_told(config, sizes),
            **_more_told(architecture, config),
        }
    return {f"{architecture}.{key}": value for key, value in told.items()}


def _rope(config: PreTrainedConfig) -> dict[str, object]:
    """The rotary positions of the layers that see all tokens."""
    rope = getattr(config, "rope_parameters", None) or {}
    return dict(rope.get("full_attention", rope))


def _rope_told(config: PreTrainedConfig, sizes: Sizes) -> Metadata:
    rope = _rope(config)
    rotated = round(sizes.head * _number(rope, "partial_rotary_factor", 1.0))
    told: Metadata = {"rope.freq_base": _number(rope, "rope_theta", 10_000.0), "rope.dimension_count": rotated}
    if (local := (config.rope_parameters or {}).get("sliding_attention")) is not None:
        told["rope.freq_base_swa"] = float(local["rope_theta"])
    kind = rope.get("rope_type", "default")
    if kind in ("linear", "yarn"):
        told |= {"rope.scaling.type": str(kind), "rope.scaling.factor": _number(rope, "factor", 1.0)}
    if kind in ("yarn", "longrope"):
        original = rope.get("original_max_position_embeddings") or config.original_max_position_embeddings
        told["rope.scaling.original_context_length"] = int(str(original))
    if kind == "longrope":
        ratio = sizes.context / int(str(told["rope.scaling.original_context_length"]))
        usual = math.sqrt(1 + math.log(ratio) / math.log(sizes.context / ratio)) if ratio > 1 else 1.0
        told["rope.scaling.attn_factor"] = _number(rope, "attention_factor", usual)
    return told


def _number(rope: Mapping[str, object], key: str, usual: float) -> float:
    found = rope.get(key)
    return float(found) if isinstance(found, int | float) else usual


def _more_told(architecture: str, config: PreTrainedConfig) -> Metadata:
    """What one architecture has beside the common sizes."""
    if architecture == "phi3":
        original = config.original_max_position_embeddings
        return {
            "rope.scaling.original_context_length": int(original),
            "attention.sliding_window": int(config.sliding_window or 0),
        }
    if architecture == "gemma2":
        return {
            "attention.sliding_window": int(config.sliding_window),
            "attn_logit_softcapping": float(config.attn_logit_softcapping or 0.0),
            "final_logit_softcapping": float(config.final_logit_softcapping or 0.0),
        }
    if architecture == "gemma3":
        softcap = {"final_logit_softcapping": float(config.final_logit_softcapping or 0.0)}
        return {
            "attention.sliding_window": int(config.sliding_window),
            **(softcap if config.final_logit_softcapping else {}),
        }
    if architecture == "granite":
        return {
            "embedding_scale": float(config.embedding_multiplier),
            "residual_scale": float(config.residual_multiplier),
            "attention.scale": float(config.attention_multiplier),
            "logit_scale": float(config.logits_scaling),
        }
    return {}


def _factors(config: PreTrainedConfig, head: int) -> Factors:
    rope = _rope(config)
    match rope.get("rope_type", "default"):
        case "llama3":
            return Factors(frequencies=llama3_factors(rope, head))
        case "longrope":
            short, long = (tuple(map(float, rope[key])) for key in ("short_factor", "long_factor"))  # type: ignore[call-overload]
            return Factors(short=short, long=long)
    return Factors()


# --- what the new header says, read as the import reads it -------------------------------------------


def _seeds(parameters: Mapping[str, torch.nn.Parameter]) -> dict[str, tuple[int, ...]]:
    """The tensors by whose presence an architecture is told apart: a head of its own, biases of the attention."""
    found: dict[str, tuple[int, ...]] = {}
    if "lm_head.weight" in parameters:
        found["output.weight"] = tuple(parameters["lm_head.weight"].shape)
    for name, numbers in parameters.items():
        parts = name.split(".")
        if name.endswith("_proj.bias") and parts[-3] == "self_attn" and parts[-2] != "o_proj":
            found[f"blk.{parts[2]}.attn_{parts[-2][0]}.bias"] = tuple(numbers.shape)
    return found


def _as_read(metadata: Metadata, shapes: Mapping[str, tuple[int, ...]]) -> GgufModel:
    """A model of such a header, before there is a file."""
    nowhere = Path("the new file")
    tensors = {name: TensorInfo(name, shape, TENSOR_TYPES[_F32], _F32, nowhere, 0) for name, shape in shapes.items()}
    return GgufModel((nowhere,), metadata, tensors)


def _refuse_other_weights(parameters: Mapping[str, torch.nn.Parameter], weights: list[Weight], name: str) -> None:
    told = {weight.name: weight.final_shape for weight in weights}
    if other := sorted(told.keys() ^ parameters.keys()):
        raise FastdraftError(
            f"{name} cannot be written as GGUF: llama.cpp knows no such model with {other[0]!r}, or without it. Export it with "
            "--to hf instead."
        )
    for key, shape in told.items():
        if tuple(parameters[key].shape) != shape:
            raise FastdraftError(
                f"{name} has {key!r} with the shape {list(parameters[key].shape)}, and by its configuration it would be "
                f"{list(shape)}. Mend config.json."
            )


def _refuse_other_configuration(
    read: GgufModel, config: PreTrainedConfig, sizes: Sizes, factors: Factors, name: str
) -> None:
    """The import makes the same configuration of the header; what it cannot tell would be lost without a word."""
    weights_of(read)
    told = configuration(read, factors)
    usual = {"head_dim": sizes.head, "num_key_value_heads": sizes.kv_heads}
    for key, value in told.items():
        found = getattr(config, key, None)
        found = usual.get(key, found) if found is None else found
        if key not in _NOT_COMPARED and found is not None and not _same(value, found):
            raise _lossy(name, key, found)
    if told["tie_word_embeddings"] and "output.weight" in read.tensors:
        raise _lossy(name, "tie_word_embeddings", False)
    window = getattr(config, "sliding_window", None)
    if window and window < sizes.context and not told.get("sliding_window"):
        raise _lossy(name, "sliding_window", window)
    for key in _ACTIVATIONS:
        if getattr(config, key, None) != getattr(type(config)(), key, None):
            raise _lossy(name, key, getattr(config, key))
    rope = told.get("rope_parameters")
    ours = dict(rope.get("full_attention", rope)) if isinstance(rope, dict) else {}
    for key, value in _rope(config).items():
        if value is not None and not _same(ours.get(key, 1.0), value):
            raise _lossy(name, f"rope_parameters.{key}", value)


def _lossy(name: str, key: str, found: object) -> FastdraftError:
    return FastdraftError(
        f"{name} cannot be written as GGUF: llama.cpp would not compute it with {key} = {found!r}. Export it with --to hf instead."
    )


def _same(one: object, other: object) -> bool:
    if isinstance(one, list | tuple | array) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, int | float) and isinstance(other, int | float):
        return math.isclose(one, other, rel_tol=_TOLERANCE)
    return one == other
