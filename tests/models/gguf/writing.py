"""Small untrained models as GGUF files, written by the conventions of llama.cpp's converters."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import gguf
import torch
from gguf import GGUFWriter, TokenType

CONTEXT = 1024
_COMMON: dict[str, Any] = dict(
    hidden_size=64,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    intermediate_size=96,
    max_position_embeddings=CONTEXT,
    bos_token_id=0,
    eos_token_id=1,
    pad_token_id=None,
)
_GEMMA: dict[str, Any] = dict(head_dim=32, sliding_window=16, query_pre_attn_scalar=32)
LLAMA3_ROPE = dict(
    rope_type="llama3",
    rope_theta=10_000.0,
    factor=8.0,
    low_freq_factor=1.0,
    high_freq_factor=4.0,
    original_max_position_embeddings=64,
)
_FACTORS = [1.0, 1.1, 1.3, 1.6, 2.0, 2.5, 3.1, 4.0]
LONG_ROPE = dict(
    rope_type="longrope",
    rope_theta=10_000.0,
    short_factor=_FACTORS,
    long_factor=[2 * factor for factor in _FACTORS],
    original_max_position_embeddings=512,
)


@dataclass(frozen=True)
class Kind:
    """An architecture: transformers' name, llama.cpp's, and what its configuration has beside the common sizes."""

    model_type: str
    arch: gguf.MODEL_ARCH
    more: dict[str, Any] = field(default_factory=dict)


KINDS: dict[str, Kind] = {
    "llama": Kind("llama", gguf.MODEL_ARCH.LLAMA),
    "llama-tied": Kind("llama", gguf.MODEL_ARCH.LLAMA, dict(tie_word_embeddings=True, head_dim=32)),
    "llama3.1": Kind("llama", gguf.MODEL_ARCH.LLAMA, dict(rope_parameters=LLAMA3_ROPE)),
    "mistral": Kind("mistral", gguf.MODEL_ARCH.LLAMA, dict(head_dim=32, sliding_window=None)),
    "qwen2": Kind("qwen2", gguf.MODEL_ARCH.QWEN2, dict(tie_word_embeddings=True)),
    "qwen3": Kind("qwen3", gguf.MODEL_ARCH.QWEN3, dict(head_dim=32)),
    "phi3": Kind("phi3", gguf.MODEL_ARCH.PHI3, dict(original_max_position_embeddings=CONTEXT)),
    "phi3-longrope": Kind(
        "phi3", gguf.MODEL_ARCH.PHI3, dict(original_max_position_embeddings=512, rope_parameters=LONG_ROPE)
    ),
    "gemma2": Kind("gemma2", gguf.MODEL_ARCH.GEMMA2, _GEMMA),
    "gemma3": Kind("gemma3_text", gguf.MODEL_ARCH.GEMMA3, dict(_GEMMA, num_hidden_layers=7)),
    "smollm3": Kind("smollm3", gguf.MODEL_ARCH.SMOLLM3, dict(num_hidden_layers=4, tie_word_embeddings=True)),
    "olmo2": Kind("olmo2", gguf.MODEL_ARCH.OLMO2),
    "granite": Kind(
        "granite",
        gguf.MODEL_ARCH.GRANITE,
        dict(embedding_multiplier=2.0, residual_multiplier=0.5, attention_multiplier=0.2, logits_scaling=4.0),
    ),
    "gpt2": Kind("gpt2", gguf.MODEL_ARCH.GPT2),
}
_GPT2: dict[str, Any] = dict(n_embd=64, n_layer=2, n_head=4, n_positions=CONTEXT, bos_token_id=0, eos_token_id=1)


def untrained(kind: Kind, width: int) -> Any:
    """A model with random weights that bfloat16 holds exactly, in float32."""
    from transformers import AutoConfig, AutoModelForCausalLM

    sizes = _GPT2 if kind.model_type == "gpt2" else _COMMON
    config = AutoConfig.for_model(kind.model_type, vocab_size=width, **{**sizes, **kind.more})
    torch.manual_seed(7)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    with torch.no_grad():
        for name, weights in model.named_parameters():
            torch.nn.init.normal_(weights, std=0.15)
            if "norm" in name and name.endswith("weight"):
                weights += 1.0 - (kind.model_type in ("gemma2", "gemma3_text"))
            weights.copy_(weights.to(torch.bfloat16))
    return model


def write_model(
    path: Path,
    kind: Kind,
    model: Any,
    vocabulary: Vocabulary,
    *,
    quantized: gguf.GGMLQuantizationType = gguf.GGMLQuantizationType.F32,
) -> Path:
    """Write ``model`` with its tokens, its matrices ``quantized``."""
    writer = GGUFWriter(path, gguf.MODEL_ARCH_NAMES[kind.arch])
    write_sizes(writer, kind, model.config)
    vocabulary.write(writer)
    names = gguf.get_tensor_name_map(kind.arch, model.config.num_hidden_layers)
    tied = model.config.tie_word_embeddings
    for name, weights in model.state_dict().items():
        if name.endswith((".attn.bias", ".attn.masked_bias")) or (tied and name == "lm_head.weight"):
            continue
        new = names.get_name(name, try_suffixes=(".weight", ".bias"))
        assert new is not None, name
        numbers = converted(kind, model.config, name, weights).float().contiguous().numpy()
        stored = quantized if numbers.ndim > 1 else gguf.GGMLQuantizationType.F32
        writer.add_tensor(new, gguf.quantize(numbers, stored), raw_dtype=stored)
    for name, factors in rope_tensors(model.config).items():
        writer.add_tensor(name, torch.tensor(factors, dtype=torch.float32).numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def converted(kind: Kind, config: Any, name: str, weights: torch.Tensor) -> torch.Tensor:
    """What llama.cpp's converters make of a parameter."""
    if kind.model_type in ("llama", "mistral", "granite", "smollm3") and "self_attn" in name:
        for part, heads in (("q_proj", config.num_attention_heads), ("k_proj", config.num_key_value_heads)):
            if part in name:
                return weights.unflatten(0, (heads, 2, -1)).transpose(1, 2).reshape(weights.shape)
    if kind.model_type in ("gemma2", "gemma3_text") and name.endswith("norm.weight"):
        return weights + 1
    if kind.model_type == "gpt2" and name.endswith(("c_attn.weight", "c_proj.weight", "c_fc.weight")):
        return weights.T
    return weights


def rope_tensors(config: Any) -> dict[str, list[float]]:
    """Factors of the rotary frequencies that are stored as tensors."""
    rope = getattr(config, "rope_parameters", None) or {}
    if rope.get("rope_type") == "longrope":
        return {"rope_factors_long.weight": rope["long_factor"], "rope_factors_short.weight": rope["short_factor"]}
    if rope.get("rope_type") != "llama3":
        return {}
    head = config.hidden_size // config.num_attention_heads
    low, high, original = (
        rope[key] for key in ("low_freq_factor", "high_freq_factor", "original_max_position_embeddings")
    )
    factors = []
    for pair in range(head // 2):
        wave = 2 * math.pi * rope["rope_theta"] ** (2 * pair / head)
        smooth = min(max((original / wave - low) / (high - low), 0), 1)
        factors.append(1 / ((1 - smooth) / rope["factor"] + smooth))
    return {"rope_freqs.weight": factors}


def write_sizes(writer: GGUFWriter, kind: Kind, config: Any) -> None:
    """The keys of the header that describe the model."""
    writer.add_name("tiny")
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_context_length(CONTEXT)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_embedding_length(config.hidden_size)
    writer.add_head_count(config.num_attention_heads)
    if kind.model_type == "gpt2":
        writer.add_feed_forward_length(4 * config.hidden_size)
        writer.add_layer_norm_eps(config.layer_norm_epsilon)
        return
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    rope = config.rope_parameters
    rope = rope.get("full_attention", rope)
    writer.add_rope_freq_base(rope["rope_theta"])
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    if head * config.num_attention_heads != config.hidden_size:
        writer.add_key_length(head)
        writer.add_value_length(head)
    if not kind.model_type.startswith("gemma"):
        writer.add_rope_dimension_count(head)
    _write_more(writer, kind, config, rope)


def _write_more(writer: GGUFWriter, kind: Kind, config: Any, rope: dict[str, Any]) -> None:
    if kind.model_type == "phi3":
        original = config.original_max_position_embeddings
        writer.add_rope_scaling_orig_ctx_len(original)
        writer.add_sliding_window(config.sliding_window or 0)
        if rope["rope_type"] == "longrope":
            writer.add_rope_scaling_attn_factors(math.sqrt(1 + math.log(CONTEXT / original) / math.log(original)))
    if kind.model_type in ("gemma2", "gemma3_text"):
        writer.add_sliding_window(config.sliding_window)
    if kind.model_type == "gemma2":
        writer.add_attn_logit_softcapping(config.attn_logit_softcapping)
        writer.add_final_logit_softcapping(config.final_logit_softcapping)
    if kind.model_type == "granite":
        writer.add_embedding_scale(config.embedding_multiplier)
        writer.add_residual_scale(config.residual_multiplier)
        writer.add_attention_scale(config.attention_multiplier)
        writer.add_logit_scale(config.logits_scaling)


# --- vocabularies ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Vocabulary:
    """Tokens as a file has them; without ``merges`` the scores say what is merged."""

    model: str
    tokens: list[str]
    types: list[int]
    merges: list[str] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    more: dict[str, Any] = field(default_factory=dict)

    def write(self, writer: GGUFWriter) -> None:
        """Write the keys of the tokenizer."""
        writer.add_tokenizer_model(self.model)
        writer.add_token_list(self.tokens)
        writer.add_token_types(self.types)
        writer.add_bos_token_id(0)
        writer.add_eos_token_id(1)
        if self.model == "llama":
            writer.add_unk_token_id(2)
        if self.merges:
            writer.add_token_merges(self.merges)
        if self.scores:
            writer.add_token_scores(self.scores)
        for key, value in self.more.items():
            writer.add_key_value(key, value, gguf.GGUFValueType.get_type(value))


_TEXTS = [
    "def add(a, b):\n    return a + b\n\nclass Point:\n\tx = 0\n",
    "The quick brown fox doesn't jump over the lazy dogs; they've slept since 1999, it's 12345.67 miles.",
    "Ünïcödé naïve café Straße — “quotes” … ½ ² Ⅷ",
    "東京は日本の首都です。 人工知能 한국어 문장 Привет, мир! Γειά σου κόσμε שלום עולם नमस्ते दुनिया",
    "🙂🚀👩‍💻 \u200b x\u00a0y  ==  !=  ->  ...  ((()))  {{}}  //////",
]


@cache
def byte_level(pre: str, width: int = 700) -> Vocabulary:
    """A byte-level vocabulary with many merges, of whole words without any cut, so that each cut shows in the ids."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    special = ["<|begin|>", "<|im_end|>", "<|user|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=width - 4,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
        max_token_length=12,
    )
    tokenizer.train_from_iterator(_TEXTS * 3, trainer)
    vocabulary = tokenizer.get_vocab()
    tokens = sorted(vocabulary, key=vocabulary.__getitem__)
    merges = [" ".join(pair) for pair in _merges(tokenizer)]
    types = [TokenType.CONTROL] * len(special) + [TokenType.NORMAL] * (len(tokens) - len(special))
    tokens += ["<think>", *(f"[PAD{number}]" for number in range(len(tokens) + 1, len(tokens) + 4))]
    types += [TokenType.USER_DEFINED, *[TokenType.UNUSED] * 3]
    return Vocabulary("gpt2", tokens, [int(kind) for kind in types], merges, more={"tokenizer.ggml.pre": pre})


@cache
def sentencepiece(*, prefix: bool, width: int = 700) -> Vocabulary:
    """A vocabulary as sentencepiece's BPE makes them: a score falls with every merge, and bytes stand in for the rest."""
    from tokenizers import Tokenizer, models, normalizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    trainer = trainers.BpeTrainer(vocab_size=width - 270, show_progress=False, max_token_length=12)
    tokenizer.train_from_iterator((part for text in _TEXTS[:3] * 3 for part in text.split("\n")), trainer)
    vocabulary = tokenizer.get_vocab()
    learned = sorted(vocabulary, key=vocabulary.__getitem__)
    whole, single = (
        [piece for piece in learned if len(piece) > 1 and piece.strip("▁")],
        [piece for piece in learned if len(piece) == 1],
    )
    special = ["<s>", "</s>", "<unk>"]
    spaces = [" " * count for count in (2, 3, 4)]
    tokens = [*special, *(f"<0x{byte:02X}>" for byte in range(256)), *spaces, *whole, *single, "<|user|>"]
    kinds = (
        [TokenType.CONTROL] * 2
        + [TokenType.UNKNOWN]
        + [TokenType.BYTE] * 256
        + [TokenType.USER_DEFINED] * len(spaces)
        + [TokenType.NORMAL] * len(whole + single)
        + [TokenType.CONTROL]
    )
    scores = [0.0] * 259 + [-1000.0] * len(spaces) + [-float(number) for number in range(len(whole + single))] + [0.0]
    more = {"tokenizer.ggml.add_space_prefix": prefix}
    return Vocabulary("llama", tokens, [int(kind) for kind in kinds], scores=scores, more=more)


def _merges(tokenizer: Any) -> list[tuple[str, str]]:
    import json

    return [tuple(pair) for pair in json.loads(tokenizer.to_str())["model"]["merges"]]
