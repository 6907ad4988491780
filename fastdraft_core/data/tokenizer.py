"""Train a byte-level BPE tokenizer, and name any tokenizer by a hash of what it does."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from fastdraft_core.errors import FastdraftError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

BOS = "<|bos|>"
EOS = "<|eos|>"


def train_tokenizer(texts: Iterator[str], vocab_size: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE with ``vocab_size`` ids that starts every text with ``<|bos|>``.

    Byte level: every string can be encoded, and decoding gives back the very bytes.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[BOS, EOS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A $B", special_tokens=[(BOS, tokenizer.token_to_id(BOS))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BOS,
        eos_token=EOS,
        clean_up_tokenization_spaces=False,
    )


def tokenizer_hash(tokenizer: Any) -> str:
    """16 hex digits over all that a tokenizer does: equal means that ids and templates are interchangeable.

    That is the vocabulary, merges, normalizer, pre-tokenizer, post-processor, decoder, added and special
    tokens and the chat template; padding and truncation are left out, since a call may set them.

    Raises:
        FastdraftError: the tokenizer has no fast form.
    """
    parts = json.loads(backend(tokenizer).to_str())
    described = {name: part for name, part in parts.items() if name not in ("version", "padding", "truncation")}
    special = [tokenizer.bos_token_id, tokenizer.eos_token_id]
    whole = json.dumps([described, special, getattr(tokenizer, "chat_template", None)], sort_keys=True)
    return hashlib.sha256(whole.encode()).hexdigest()[:16]


def backend(tokenizer: Any) -> Any:
    """The ``tokenizers.Tokenizer`` behind a tokenizer of transformers.

    Raises:
        FastdraftError: there is none.
    """
    found = getattr(tokenizer, "backend_tokenizer", None)
    if found is None:
        raise FastdraftError(
            f"{type(tokenizer).__name__} has no fast form (tokenizer.json), which training needs. Convert it with "
            "transformers, or use a model that has one."
        )
    return found
