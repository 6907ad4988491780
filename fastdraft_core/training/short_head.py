"""Train a draft's head over its draft vocabulary alone; its input embeddings keep the whole vocabulary."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from fastdraft_core.errors import FastdraftError
from fastdraft_core.models.draft_vocab import DraftVocab


class ShortHead(torch.nn.Module):
    """The head of a model whose logits are those of a draft vocabulary of K ids.

    While it is trained its logits are ``[..., K]``, in the order of ``ids``, so that a step pays for K columns. Otherwise
    they are ``[..., V]`` and all others -inf, so that whoever judges the model or writes with it sees the very distribution
    that it drafts from. The weights are those of the whole head, tied to the embeddings where they were, so a checkpoint is
    a folder that any tool loads.
    """

    def __init__(self, head: Any, vocab: DraftVocab) -> None:
        super().__init__()
        self.weight, self.vocab = head.weight, vocab
        self.bias = head.bias if getattr(head, "bias", None) is not None else None
        ids = torch.tensor(sorted(vocab.ids), device=self.weight.device)
        self.scored = np.zeros(self.weight.shape[0], dtype=bool)
        self.scored[vocab.ids] = True
        columns = torch.full((self.weight.shape[0],), -1, device=ids.device)
        columns[ids] = torch.arange(len(ids), device=ids.device)
        self.register_buffer("ids", ids, persistent=False)
        self.register_buffer("columns", columns, persistent=False)

    scored: npt.NDArray[np.bool_]
    """Whether each id [V] is in the draft vocabulary."""
    ids: torch.Tensor
    """The scored ids [K], ascending."""
    columns: torch.Tensor
    """The column of each id [V] among the K, -1 where it is not scored."""

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Logits of hidden states ``[..., width]``."""
        bias = None if self.bias is None else self.bias[self.ids]
        logits = F.linear(hidden, self.weight[self.ids], bias)
        if self.training:
            return logits
        whole = logits.new_full((*logits.shape[:-1], len(self.columns)), -torch.inf)
        return whole.index_copy_(-1, self.ids, logits)


def shorten_head(model: Any, vocab: DraftVocab) -> None:
    """Have ``model`` score only the ids of ``vocab`` from now on.

    Raises:
        FastdraftError: the model has no output embedding, or other ids than those that ``vocab`` was chosen from.
    """
    head = model.get_output_embeddings()
    if head is None:
        raise FastdraftError(
            f"A {model.config.model_type} has no output embedding of its own, so it cannot have a draft vocabulary. Leave "
            "model.draft_vocab out."
        )
    if head.weight.shape[0] != vocab.vocab_size:
        raise FastdraftError(
            f"The draft vocabulary was chosen from {vocab.vocab_size:,} ids, and the model has {head.weight.shape[0]:,}. Train "
            "in another job folder."
        )
    model.set_output_embeddings(ShortHead(head, vocab))


def short_head(model: Any) -> ShortHead | None:
    """The head of a model that has a draft vocabulary; None where it scores every id."""
    find = getattr(model, "get_output_embeddings", None)
    head = find() if find is not None else None
    return head if isinstance(head, ShortHead) else None
