"""What a GGUF file's architecture is called in transformers: its configuration, and the name and layout of every weight.

llama.cpp keeps the rotary halves of some architectures interleaved, adds one to the norms of Gemma, and transposes
GPT-2; here all of that is undone.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from fastdraft_core.errors import FastdraftError
from fastdraft_core.models.gguf.model_file import GgufModel
from fastdraft_core.models.gguf.rope import Factors, rope_parameters

Config = dict[str, object]
Change = Literal["none", "rotary", "minus one", "transposed"]
#: Factors of the rotary frequencies: they are in the configuration, not among the weights.
ROPE_TENSORS = ("rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight")


@dataclass(frozen=True, slots=True)
class Weight:
    """One tensor of the file and the parameter that it becomes.

    ``shape`` is the file's, rows first. ``change`` undoes what the converter did; ``heads`` counts the attention heads
    whose rows a rotary one has.
    """

    source: str
    name: str
    shape: tuple[int, ...]
    change: Change = "none"
    heads: int = 0

    @property
    def final_shape(self) -> tuple[int, ...]:
        """The shape of the parameter in transformers."""
        return self.shape[::-1] if self.change == "transposed" else self.shape


@dataclass(frozen=True, slots=True)
class Sizes:
    """The numbers that all architectures have; widths and counts of one layer."""

    vocab: int
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head: int
    inner: int
    context: int

    @property
    def queries(self) -> int:
        """Rows of the query projection."""
        return self.heads * self.head

    @property
    def keys(self) -> int:
        """Rows of the key projection, and of the value projection."""
        return self.kv_heads * self.head


@dataclass(frozen=True, slots=True)
class Architecture:
    """How one architecture of llama.cpp is read."""

    class_name: str
    model_type: str
    configure: Callable[[GgufModel, Sizes, Factors], Config]
    weights: Callable[[GgufModel, Sizes], list[Weight]]
    #: Keys of the header that, if set, make it another architecture than this one.
    unless: tuple[str, ...] = ("expert_count",)
    tied: bool | None = field(default=None)


def architecture_of(model: GgufModel) -> Architecture:
    """How ``model`` is read.

    Raises:
        FastdraftError: its architecture is not known here; the message names it.
    """
    name = model.architecture
    found = _ARCHITECTURES.get(name)
    if found is None:
        raise FastdraftError(
            f"{model.file} holds a model of the architecture {name!r}; these can be imported: "
            f"{', '.join(sorted(_ARCHITECTURES))}. Use the model's Hugging Face folder instead."
        )
    for key in found.unless:
        if model.metadata.get(f"{name}.{key}"):
            raise FastdraftError(
                f"{model.file} is a {name} model with {key.rpartition('.')[2].replace('_', ' ')}, which cannot be imported. "
                "Use the model's Hugging Face folder instead."
            )
    return found


def architecture_called(name: str) -> Architecture:
    """The architecture that llama.cpp calls ``name``, one of those that are known here."""
    return _ARCHITECTURES[name]


def configuration(model: GgufModel, factors: Factors) -> Config:
    """The ``config.json`` of ``model``; ``factors`` are those of its rotary frequencies.

    Raises:
        FastdraftError: its header lacks a value or contradicts itself.
    """
    found, sizes = architecture_of(model), sizes_of(model)
    return {
        "architectures": [found.class_name],
        "model_type": found.model_type,
        "dtype": "bfloat16",
        "vocab_size": sizes.vocab,
        "tie_word_embeddings": "output.weight" not in model.tensors,
        **found.configure(model, sizes, factors),
    }


def weights_of(model: GgufModel) -> list[Weight]:
    """Every weight of ``model``, in the order of its layers.

    Raises:
        FastdraftError: a tensor is missing, has another shape than the header says, or is not of this architecture.
    """
    wanted = architecture_of(model).weights(model, sizes_of(model))
    for weight in wanted:
        tensor = model.tensors.get(weight.source)
        if tensor is None:
            raise FastdraftError(f"{model.file} lacks the tensor {weight.source!r}. Download it again.")
        if tensor.shape != weight.shape:
            raise FastdraftError(
                f"{model.file} has {weight.source!r} with the shape {list(tensor.shape)}, and by its header it would be "
                f"{list(weight.shape)}. Download it again."
            )
    known = {weight.source for weight in wanted} | set(ROPE_TENSORS)
    if foreign := sorted(model.tensors.keys() - known):
        raise FastdraftError(
            f"{model.file} has {len(foreign)} tensors that a {model.architecture} model does not have here, such as "
            f"{foreign[0]!r}. Use the model's Hugging Face folder instead."
        )
    return wanted


def sizes_of(model: GgufModel) -> Sizes:
    """The numbers of ``model``, by its header; the vocabulary is as wide as its embeddings.

    Raises:
        FastdraftError: one is missing, or they contradict each other.
    """
    name = model.architecture
    embeddings = model.tensors.get("token_embd.weight")
    if embeddings is None:
        raise FastdraftError(f"{model.file} has no embeddings, so it is no language model.")
    hidden, heads = model.integer(f"{name}.embedding_length"), model.integer(f"{name}.attention.head_count")
    if hidden < 1 or heads < 1:
        raise FastdraftError(f"{model.file} has the width {hidden} and {heads} heads. Download it again.")
    sizes = Sizes(
        vocab=embeddings.shape[0],
        hidden=hidden,
        layers=model.integer(f"{name}.block_count"),
        heads=heads,
        kv_heads=model.integer(f"{name}.attention.head_count_kv", heads),
        head=model.integer(f"{name}.attention.key_length", hidden // heads),
        inner=model.integer(f"{name}.feed_forward_length"),
        context=model.integer(f"{name}.context_length"),
    )
    values = model.integer(f"{name}.attention.value_length", sizes.head)
    if min(sizes.layers, sizes.kv_heads, sizes.head, sizes.inner, sizes.context) < 1 or heads % sizes.kv_heads:
        raise FastdraftError(f"{model.file} has a header that contradicts itself ({sizes}). Download it again.")
    if sizes.layers > len(model.tensors) or values != sizes.head or sizes.head % 2:
        raise FastdraftError(
            f"{model.file} has {sizes.layers} layers with keys of {sizes.head} and values of {values}, which cannot be "
            "imported. Use the model's Hugging Face folder instead."
        )
    return sizes


# --- configurations ----------------------------------------------------------------------------------


def _common(model: GgufModel, sizes: Sizes, factors: Factors) -> Config:
    name = model.architecture
    return {
        "hidden_size": sizes.hidden,
        "num_hidden_layers": sizes.layers,
        "num_attention_heads": sizes.heads,
        "num_key_value_heads": sizes.kv_heads,
        "head_dim": sizes.head,
        "intermediate_size": sizes.inner,
        "max_position_embeddings": sizes.context,
        "rms_norm_eps": _epsilon(model.number(f"{name}.attention.layer_norm_rms_epsilon")),
        "rope_parameters": rope_parameters(model, sizes.head, sizes.context, factors),
        # An architecture's own padding id may lie outside of a small vocabulary.
        "pad_token_id": None,
    }


def _epsilon(number: float) -> float:
    """The decimal number that was rounded to a float of 32 bits."""
    return float(f"{number:.6g}")


def _llama(model: GgufModel, sizes: Sizes, factors: Factors) -> Config:
    biased = "blk.0.attn_q.bias" in model.tensors
    return {**_common(model, sizes, factors), "attention_bias": biased, "mlp_bias": False}


def _qwen2(model: GgufModel, sizes: Sizes, factors: Factors) -> Config:
    return {**_common(model, sizes, factors), "use_sliding_window": False}


def _qwen3(model: GgufModel, sizes: Sizes, factors: Factors) -> Config:
    return {**_common(model, sizes, factors), "use_sliding_window": False, "attention_bias": False}


def _phi3(model: GgufModel, sizes: Sizes, factors: Factors) -> Config:
    original = model.integer("phi3.rope.scaling.original_context_length", sizes.context)
    window = model.integer("phi3.attention.sliding_window", 0)
    rope = rope_parameters(model, sizes.head, sizes.context, factors)
    return {
        **_common(model, sizes, factors),
        "rope_parameters": rope,
        "original_max_position_embeddings": original,
        "sliding_window": window if 0 < window < sizes.context else None,
    }


def _gemma2(model: GgufModel, sizes: Sizes, factors: Factors) -> Config:
    return {
        **_common(model, sizes, factors),
        **_gemma_attention(model, sizes, largest=46),
        "attn_logit_softcapping": model.number("gemma2.attn_logit_softcapping", 50.0),
        "final_logit_softcapping": model.number("gemma2.final_logit_softcapping", 30.0),
        "sliding_window": model.integer("gemma2.attention.sliding_window", 4096),
        "layer_types": _layer_types(sizes.layers, 2),
        "tie_word_embeddings": True,
    }


def _gemma3(model: GgufModel, sizes: Sizes, factors: Factors) -> Config:
    window = model.integer("gemma3.attention.sliding_window", 0)
    whole = rope_parameters(model, sizes.head, sizes.context, factors, usual_base=1_000_000.0)
    local = {"rope_type": "default", "rope_theta": model.number("gemma3.rope.freq_base_swa", 10_000.0)}
    pattern = model.integer("gemma3.attention.sliding_window_pattern", 6) if window else 1
    softcap = model.number("gemma3.final_logit_softcapping", 0.0)
    return {
        **_common(model, sizes, factors),
        **_gemma_attention(model, sizes, largest=62),
        "model_type": "gemma3_text",
        "rope_parameters": {"full_attention": whole, "sliding_attention": local},
        "final_logit_softcapping": softcap or None,
        "sliding_window": window or sizes.context,
        "layer_types": _layer_types(sizes.layers, pattern),
        "tie_word_embeddings": True,
    }


def _gemma_attention(model: GgufModel, sizes: Sizes, *, largest: int) -> Config:
    """The number whose root divides the scores. No key tells it; the largest model, by its layers, has a rule of its own."""
    scalar = sizes.hidden // sizes.heads if sizes.layers == largest else sizes.head
    return {"query_pre_attn_scalar": scalar, "hidden_activation": "gelu_pytorch_tanh", "attention_bias": False}


def _layer_types(layers: int, period: int) -> list[str]:
    """Of every ``period`` layers the last one sees all tokens; the others see a window of them."""
    return ["sliding_attention" if (layer + 1) % period else "full_attention" for layer in range(layers)]


def _smollm3(model: GgufModel, sizes: Sizes, factors: Factors) -> Config:
    # Every fourth layer has no positions; the file does not tell it, llama.cpp knows it.
    rotary = [int((layer + 1) % 4 != 0) for layer in range(sizes.layers)]
    return {**_llama(model, sizes, factors), "no_rope_layers": rotary, "no_rope_layer_interval": 4}


def _olmo2(model: GgufModel, sizes: Sizes, factors: Factors) -> Config:
    return {**_common(model, sizes, factors), "attention_bias": False}


def _granite(model: GgufModel, sizes: Sizes, factors: Factors) -> Config:
    return {
        **_llama(model, sizes, factors),
        "embedding_multiplier": _epsilon(model.number("granite.embedding_scale", 1.0)),
        "residual_multiplier": _epsilon(model.number("granite.residual_scale", 1.0)),
        "attention_multiplier": _epsilon(model.number("granite.attention.scale", 1 / math.sqrt(sizes.head))),
        "logits_scaling": _epsilon(model.number("granite.logit_scale")),
    }


def _gpt2(model: GgufModel, sizes: Sizes, factors: Factors) -> Config:
    del factors
    return {
        "n_embd": sizes.hidden,
        "n_layer": sizes.layers,
        "n_head": sizes.heads,
        "n_inner": sizes.inner,
        "n_positions": sizes.context,
        "layer_norm_epsilon": _epsilon(model.number("gpt2.attention.layer_norm_epsilon")),
    }


# --- weights -----------------------------------------------------------------------------------------


def _outer(model: GgufModel, sizes: Sizes, change: Change = "none") -> list[Weight]:
    table = (sizes.vocab, sizes.hidden)
    head = [Weight("output.weight", "lm_head.weight", table)] if "output.weight" in model.tensors else []
    return [
        Weight("token_embd.weight", "model.embed_tokens.weight", table),
        Weight("output_norm.weight", "model.norm.weight", (sizes.hidden,), change),
        *head,
    ]


def _block(
    layer: int, source: str, name: str, shape: tuple[int, ...], change: Change = "none", heads: int = 0
) -> Weight:
    return Weight(f"blk.{layer}.{source}", f"model.layers.{layer}.{name}", shape, change, heads)


def _attention(model: GgufModel, sizes: Sizes, layer: int, *, rotary: bool) -> list[Weight]:
    change: Change = "rotary" if rotary else "none"
    parts = (
        ("attn_q", "q_proj", sizes.queries, change, sizes.heads),
        ("attn_k", "k_proj", sizes.keys, change, sizes.kv_heads),
        ("attn_v", "v_proj", sizes.keys, "none", 0),
    )
    found = [
        _block(layer, f"{source}.weight", f"self_attn.{name}.weight", (rows, sizes.hidden), undo, heads)  # type: ignore[arg-type]
        for source, name, rows, undo, heads in parts
    ]
    found += [
        _block(layer, f"{source}.bias", f"self_attn.{name}.bias", (rows,), undo, heads)  # type: ignore[arg-type]
        for source, name, rows, undo, heads in parts
        if f"blk.{layer}.{source}.bias" in model.tensors
    ]
    output = (sizes.hidden, sizes.queries)
    return [*found, _block(layer, "attn_output.weight", "self_attn.o_proj.weight", output)]


def _feed_forward(sizes: Sizes, layer: int) -> list[Weight]:
    wide, narrow = (sizes.inner, sizes.hidden), (sizes.hidden, sizes.inner)
    return [
        _block(layer, "ffn_gate.weight", "mlp.gate_proj.weight", wide),
        _block(layer, "ffn_up.weight", "mlp.up_proj.weight", wide),
        _block(layer, "ffn_down.weight", "mlp.down_proj.weight", narrow),
    ]


def _norms(layer: int, names: dict[str, str], width: int, change: Change = "none") -> list[Weight]:
    return [_block(layer, f"{source}.weight", f"{name}.weight", (width,), change) for source, name in names.items()]


_BEFORE = {"attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm"}
_QK_NORMS = {"attn_q_norm": "self_attn.q_norm", "attn_k_norm": "self_attn.k_norm"}
_GEMMA_NORMS = {
    "attn_norm": "input_layernorm",
    "post_attention_norm": "post_attention_layernorm",
    "ffn_norm": "pre_feedforward_layernorm",
    "post_ffw_norm": "post_feedforward_layernorm",
}


def _llama_weights(model: GgufModel, sizes: Sizes) -> list[Weight]:
    return _plain_weights(model, sizes, rotary=True)


def _qwen2_weights(model: GgufModel, sizes: Sizes) -> list[Weight]:
    return _plain_weights(model, sizes, rotary=False)


def _plain_weights(model: GgufModel, sizes: Sizes, *, rotary: bool) -> list[Weight]:
    found = _outer(model, sizes)
    for layer in range(sizes.layers):
        found += _attention(model, sizes, layer, rotary=rotary)
        found += _feed_forward(sizes, layer)
        found += _norms(layer, _BEFORE, sizes.hidden)
    return found


def _qwen3_weights(model: GgufModel, sizes: Sizes) -> list[Weight]:
    found = _plain_weights(model, sizes, rotary=False)
    for layer in range(sizes.layers):
        found += _norms(layer, _QK_NORMS, sizes.head)
    return found


def _olmo2_weights(model: GgufModel, sizes: Sizes) -> list[Weight]:
    after = {"post_attention_norm": "post_attention_layernorm", "post_ffw_norm": "post_feedforward_layernorm"}
    found = _outer(model, sizes)
    for layer in range(sizes.layers):
        found += _attention(model, sizes, layer, rotary=False)
        found += _feed_forward(sizes, layer)
        found += _norms(layer, after, sizes.hidden)
        found += _norms(layer, {"attn_q_norm": "self_attn.q_norm"}, sizes.queries)
        found += _norms(layer, {"attn_k_norm": "self_attn.k_norm"}, sizes.keys)
    return found


def _gemma2_weights(model: GgufModel, sizes: Sizes) -> list[Weight]:
    found = _outer(model, sizes, "minus one")
    for layer in range(sizes.layers):
        found += _attention(model, sizes, layer, rotary=False)
        found += _feed_forward(sizes, layer)
        found += _norms(layer, _GEMMA_NORMS, sizes.hidden, "minus one")
    return found


def _gemma3_weights(model: GgufModel, sizes: Sizes) -> list[Weight]:
    found = _gemma2_weights(model, sizes)
    for layer in range(sizes.layers):
        found += _norms(layer, _QK_NORMS, sizes.head, "minus one")
    return found


def _phi3_weights(model: GgufModel, sizes: Sizes) -> list[Weight]:
    found = _outer(model, sizes)
    for layer in range(sizes.layers):
        rows = sizes.queries + 2 * sizes.keys
        found += [
            _block(layer, "attn_qkv.weight", "self_attn.qkv_proj.weight", (rows, sizes.hidden)),
            _block(layer, "attn_output.weight", "self_attn.o_proj.weight", (sizes.hidden, sizes.queries)),
            _block(layer, "ffn_up.weight", "mlp.gate_up_proj.weight", (2 * sizes.inner, sizes.hidden)),
            _block(layer, "ffn_down.weight", "mlp.down_proj.weight", (sizes.hidden, sizes.inner)),
        ]
        found += _norms(layer, _BEFORE, sizes.hidden)
    return found


def _gpt2_weights(model: GgufModel, sizes: Sizes) -> list[Weight]:
    wide = sizes.hidden
    found = [
        Weight("token_embd.weight", "transformer.wte.weight", (sizes.vocab, wide)),
        Weight("position_embd.weight", "transformer.wpe.weight", (sizes.context, wide)),
        Weight("output_norm.weight", "transformer.ln_f.weight", (wide,)),
        Weight("output_norm.bias", "transformer.ln_f.bias", (wide,)),
    ]
    if "output.weight" in model.tensors:
        found.append(Weight("output.weight", "lm_head.weight", (sizes.vocab, wide)))
    matrices = {
        "attn_qkv": ("attn.c_attn", 3 * wide, wide),
        "attn_output": ("attn.c_proj", wide, wide),
        "ffn_up": ("mlp.c_fc", sizes.inner, wide),
        "ffn_down": ("mlp.c_proj", wide, sizes.inner),
    }
    for layer in range(sizes.layers):
        for source, (name, rows, columns) in matrices.items():
            place = f"transformer.h.{layer}.{name}"
            found.append(Weight(f"blk.{layer}.{source}.weight", f"{place}.weight", (rows, columns), "transposed"))
            found.append(Weight(f"blk.{layer}.{source}.bias", f"{place}.bias", (rows,)))
        for source, name in (("attn_norm", "ln_1"), ("ffn_norm", "ln_2")):
            for part in ("weight", "bias"):
                found.append(Weight(f"blk.{layer}.{source}.{part}", f"transformer.h.{layer}.{name}.{part}", (wide,)))
    return found


_ARCHITECTURES: dict[str, Architecture] = {
    # Mistral models are of this architecture in llama.cpp.
    "llama": Architecture("LlamaForCausalLM", "llama", _llama, _llama_weights),
    "mistral3": Architecture(
        "LlamaForCausalLM", "llama", _llama, _llama_weights, unless=("expert_count", "attention.temperature_scale")
    ),
    "qwen2": Architecture("Qwen2ForCausalLM", "qwen2", _qwen2, _qwen2_weights),
    "qwen3": Architecture("Qwen3ForCausalLM", "qwen3", _qwen3, _qwen3_weights),
    "phi3": Architecture("Phi3ForCausalLM", "phi3", _phi3, _phi3_weights),
    "gemma2": Architecture("Gemma2ForCausalLM", "gemma2", _gemma2, _gemma2_weights),
    "gemma3": Architecture("Gemma3ForCausalLM", "gemma3_text", _gemma3, _gemma3_weights),
    "smollm3": Architecture("SmolLM3ForCausalLM", "smollm3", _smollm3, _llama_weights),
    "olmo2": Architecture(
        "Olmo2ForCausalLM", "olmo2", _olmo2, _olmo2_weights, unless=("expert_count", "attention.sliding_window")
    ),
    "granite": Architecture("GraniteForCausalLM", "granite", _granite, _llama_weights),
    "gpt2": Architecture("GPT2LMHeadModel", "gpt2", _gpt2, _gpt2_weights),
}
