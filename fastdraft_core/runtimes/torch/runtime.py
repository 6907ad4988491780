"""Run any Hugging Face causal LM whose cache can be rewound, on PyTorch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch

from fastdraft_core.errors import FastdraftError
from fastdraft_core.events import ModelCard
from fastdraft_core.machine.devices import synchronize
from fastdraft_core.runtimes.base import Kept, check_room
from fastdraft_core.runtimes.prompt import PREFILL_CHUNK, PromptCache
from fastdraft_core.runtimes.torch.cache import RewindableCache
from fastdraft_core.runtimes.torch.packed import count_weights, head_rows, packed_dtype, weight_bytes

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

#: Layer types of transformers whose past is a list of keys and values, and so can be rewound.
_REWINDABLE_LAYERS = {"full_attention", "sliding_attention", "chunked_attention"}
#: Model types with a recurrent state, in the releases that declare no layer types for them.
_RECURRENT = ("mamba", "rwkv", "xlstm", "recurrent_gemma", "jamba", "zamba", "bamba", "falcon_h1", "lfm2")


class TorchRuntime:
    """One model and its cache. See ``Runtime`` for shapes."""

    def __init__(
        self, model: PreTrainedModel, name: str, vocab_size: int, head_ids: Sequence[int] | None = None
    ) -> None:
        refuse_unrewindable(model.config, name)
        parameters = count_weights(model)
        if head_ids is not None:
            keep_head_rows(model, name, head_ids)
        self.model = model.eval()
        self.vocab_size = vocab_size
        self.head_ids = None if head_ids is None else list(head_ids)
        config = model.config.get_text_config()
        self.context_length = context_length(config)
        self.card = _card(model, name, self.context_length, parameters, len(head_ids or ()))
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        self.kv_bytes_per_token = 2 * config.num_hidden_layers * heads * width * model.dtype.itemsize
        self._cache = RewindableCache()
        self._prompt = PromptCache(lambda ids: self._pass(ids, keep=1)[0], self._cache.rewind, self.synchronize)
        # The model's own property looks through its parameters.
        self._device = model.device
        # A ready mask saves transformers' own mask building in every pass; windows need theirs, and so do
        # ALiBi and the older models, which read distances out of a two-dimensional one.
        alibi = getattr(config, "alibi", False) or not getattr(model, "_supports_sdpa", False)
        self._plain_mask = not has_windows(config) and not alibi

    @property
    def length(self) -> int:
        """Tokens in the cache."""
        return self._cache.get_seq_length()

    @property
    def kept(self) -> Kept:
        """What the last prompt's reading found in the cache."""
        return self._prompt.kept

    def prefill(self, ids: list[int], chunk: int = PREFILL_CHUNK) -> torch.Tensor:
        """Have the cache hold ``ids`` alone; float32 logits ``[V]`` of what follows. Passes read ``chunk`` tokens."""
        check_room(self, len(ids))
        return self._prompt.logits(ids, chunk)

    def reading(self, ids: list[int], chunk: int = PREFILL_CHUNK) -> Iterator[int]:
        """Read a prompt as ``prefill`` does, pass by pass; how many of its tokens are cached."""
        check_room(self, len(ids))
        return self._prompt.reading(ids, chunk)

    def adopt(self, ids: list[int]) -> None:
        """Have the next prompt go on from ``ids``, which the cache holds, as far as it begins with them."""
        assert len(ids) == self.length, f"{len(ids)} tokens of {self.length} in the cache"
        self._prompt.adopt(ids)

    def forward(self, ids: list[int]) -> torch.Tensor:
        """Read ``ids`` after what is cached; float32 logits ``[len(ids), V]``."""
        return self._pass(ids, keep=len(ids))

    def rewind(self, length: int) -> None:
        """Forget everything after the first ``length`` tokens."""
        self._cache.rewind(length)
        self._prompt.forget(length)

    def synchronize(self) -> None:
        """Wait for a device that works on its own (CUDA, XPU, Gaudi); nothing on a CPU."""
        synchronize(self._device)

    @torch.inference_mode()
    def _pass(self, ids: list[int], keep: int) -> torch.Tensor:
        past = self.length
        check_room(self, past + len(ids))
        output: Any = self.model(
            input_ids=torch.tensor([ids], device=self._device),
            position_ids=torch.arange(past, past + len(ids), device=self._device)[None],
            attention_mask=self._mask(past, len(ids)),
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=keep,
        )
        if self.length != past + len(ids):
            raise FastdraftError(
                f"{self.card.name} ({self.card.architecture}) keeps no key-value cache, which fastdraft needs. "
                "Use another model."
            )
        return output.logits[0, :, : self.vocab_size].float()

    def _mask(self, past: int, count: int) -> torch.Tensor | None:
        """Causal mask ``[1, 1, count, past + count]`` in the model's dtype, or None where none is needed."""
        if not self._plain_mask or past == 0 or count == 1:
            return None
        mask = torch.full((count, past + count), torch.finfo(self.model.dtype).min, dtype=self.model.dtype)
        return mask.triu_(past + 1)[None, None].to(self._device)


def context_length(config: PretrainedConfig) -> int:
    """The longest sequence in tokens; beyond any memory where the configuration sets no end."""
    text = config.get_text_config()
    # MPT has a name of its own for it.
    return int(getattr(text, "max_position_embeddings", 0) or getattr(text, "max_seq_len", 0) or 1 << 30)


def refuse_unrewindable(config: PretrainedConfig, name: str) -> None:
    """Raise for a model whose past cannot be rewound (pitfall 9), by name and with the reason."""
    config = config.get_text_config()
    kinds = set(getattr(config, "layer_types", None) or ()) - _REWINDABLE_LAYERS
    if str(config.model_type).startswith(_RECURRENT):
        kinds.add(f"{config.model_type} layers")
    if kinds:
        raise FastdraftError(
            f"{name} ({config.model_type}) has {', '.join(sorted(kinds))}: its past is a running state that cannot be "
            "taken back to an earlier token, which speculative decoding needs. Use a model with attention layers only."
        )
    if getattr(config, "is_encoder_decoder", False):
        raise FastdraftError(
            f"{name} ({config.model_type}) is an encoder-decoder; fastdraft needs a causal language model."
        )


def has_windows(config: PretrainedConfig) -> bool:
    """Whether some layer sees only the last tokens, so that distances in the cache matter."""
    mixed = set(getattr(config, "layer_types", None) or ()) - {"full_attention"}
    return bool(getattr(config, "sliding_window", None) or mixed)


def keep_head_rows(model: PreTrainedModel, name: str, ids: Sequence[int]) -> None:
    """Have the head of ``model``, which people know by ``name``, score ``ids`` alone, in this order.

    Raises:
        FastdraftError: it has no head of its own, or not so many ids.
    """
    head: Any = model.get_output_embeddings()
    if head is None or max(ids) >= head.weight.shape[0]:
        raise FastdraftError(
            f"{name} ({model.config.model_type}) has no head with {max(ids) + 1:,} rows to take a draft vocabulary from. Use the "
            "draft without @vocab."
        )
    rows = torch.tensor(ids, device=head.weight.device)
    bias = getattr(head, "bias", None)
    short = torch.nn.Linear(head.weight.shape[1], len(ids), bias=bias is not None, device="meta")
    short.weight = torch.nn.Parameter(head_rows(head, rows), requires_grad=False)
    if bias is not None:
        short.bias = torch.nn.Parameter(bias.detach()[rows], requires_grad=False)
    model.set_output_embeddings(short)


def _card(model: PreTrainedModel, name: str, context_length: int, parameters: int, head_ids: int) -> ModelCard:
    config = model.config.get_text_config()
    table = model.get_input_embeddings().weight
    tied = model.get_output_embeddings() is not None and model.get_output_embeddings().weight is table
    total = weight_bytes(model)
    kind = packed_dtype(model)
    compute = str(model.dtype).removeprefix("torch.")
    return ModelCard(
        name=name,
        architecture=str(config.model_type),
        # Rows that were taken out of a tied table are no further parameters.
        parameters=min(parameters, count_weights(model)),
        # A token reads one row of an untied embedding table, and the whole of a tied one as the head.
        weight_bytes=total if tied else total - table.numel() * table.element_size(),
        dtype=kind or compute,
        device=str(model.device),
        layers=int(config.num_hidden_layers),
        hidden_size=int(config.hidden_size),
        vocab_size=int(config.vocab_size),
        context_length=context_length,
        compute=compute if kind else "",
        draft_vocab=head_ids,
    )
