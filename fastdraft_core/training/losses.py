"""Training losses: cross-entropy and token-level distillation from stored sparse target probabilities.

The target's distribution p at one position is stored as its k largest probabilities and one tail
bucket, the mass of all other ids. Distillation compares p with the draft's q on these k + 1 events:
q's own tail is the mass that q gives to the ids outside the target's top k. Merging events never
raises a divergence (data processing), so KL and TVD of the buckets are lower bounds of the dense
ones, and equal to them at k = V. The gradient leaves the shape of q inside the tail alone and moves
only its mass.

A draft with a draft vocabulary has q = 0 outside its list. There cross-entropy and KL would be infinite, so p is taken given
the list: of the stored events those outside are dropped and the others scaled to 1, which leaves the tail as it is (what of it
lies outside is not known). Whoever calls leaves out the positions whose own token is outside; in expectation that weighs each
position by p's mass inside, which is what a draft can earn there at most.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint

from fastdraft_core.errors import FastdraftError
from fastdraft_core.training.short_head import short_head

#: The stored probabilities of positions ``[...]``: ids ``[..., k]`` and log-probabilities ``[..., k + 1]``, tail last.
Sparse = tuple[torch.Tensor, torch.Tensor]

#: Logits that are held at once; a larger batch goes through the head in pieces (128 MB as float32).
MAX_LOGITS = 1 << 25
#: A logit that stands for no probability; finite, so that gradients are too.
_NEVER = -1e5
#: Settings of models that change the head's logits afterwards.
_ALTERS_LOGITS = ("final_logit_softcapping", "logit_scale", "logits_scaling")


def next_token_loss(
    model: Any,
    ids: torch.Tensor,
    mask: torch.Tensor,
    kind: str = "ce",
    sparse: Sparse | None = None,
    *,
    positions: torch.Tensor | None = None,
    max_logits: int = MAX_LOGITS,
) -> torch.Tensor:
    """Summed loss in nats over the masked-in next tokens of ``ids`` [rows, length + 1].

    ``sparse`` holds the target's probabilities *of* each of ``ids`` (given what precedes it), so it
    is ``[rows, length + 1, ...]`` too. ``positions`` [rows, length + 1] begin anew with every document;
    attention then stays within documents. At most ``max_logits`` logits exist at once: beyond that the
    head runs on pieces of the batch, again in the backward pass. Of a model with a draft vocabulary only positions whose
    token is in it may be masked in.

    Raises:
        FastdraftError: the batch needs pieces and the model alters its head's logits.
    """
    labels, counted = ids[:, 1:].flatten(), mask[:, 1:].flatten()
    if sparse is not None:
        sparse = (sparse[0][:, 1:].flatten(0, 1), sparse[1][:, 1:].flatten(0, 1))
    inputs = {"input_ids": ids[:, :-1], "use_cache": False}
    if positions is not None:
        inputs["position_ids"] = positions[:, :-1]
    tokens, vocab_size = labels.numel(), getattr(getattr(model, "config", None), "vocab_size", 1)
    short = short_head(model)
    narrow = short is not None and short.training
    if short is not None:
        # What is masked out needs a label too.
        labels = torch.where(counted, labels, short.ids[0])
    if short is not None and narrow:
        vocab_size, labels = len(short.ids), short.columns[labels]
        sparse = None if sparse is None else (short.columns[sparse[0].long()], sparse[1])
    piece = max(1, max_logits // vocab_size)
    if tokens <= piece:
        logits = model(**inputs).logits
        return (token_losses(kind, logits.flatten(0, 1), labels, sparse, short=narrow) * counted).sum()
    _refuse_altered_logits(model)
    hidden = model.base_model(**inputs).last_hidden_state.flatten(0, 1)
    head = model.get_output_embeddings()

    def loss_of(rows: torch.Tensor, *parts: Any) -> torch.Tensor:
        return (token_losses(kind, head(rows), parts[0], parts[2:] or None, short=narrow) * parts[1]).sum()

    total = hidden.new_zeros((), dtype=torch.float32)
    for start in range(0, tokens, piece):
        parts = [t[start : start + piece] for t in (hidden, labels, counted, *(sparse or ()))]
        total = total + checkpoint(loss_of, *parts, use_reentrant=False)
    return total


def token_losses(
    kind: str, logits: torch.Tensor, labels: torch.Tensor, sparse: Any = None, *, short: bool = False
) -> torch.Tensor:
    """Loss in nats at each of T positions: ``logits`` [T, V], ``labels`` [T], ``sparse`` as above.

    ``kind`` is one of the paper's five (section 3): ``ce`` on the tokens that the target chose, ``kl``,
    ``tvd``, and ``ce+kl`` and ``ce+tvd``, which are halves of both. With ``short``, stored ids below 0 are outside
    the draft's vocabulary, and p is taken given that none of them comes.
    """
    logits = logits.float()
    if kind == "ce":
        return F.cross_entropy(logits, labels, reduction="none")
    assert sparse is not None, "a divergence needs the target's probabilities"
    ids, log_p = sparse[0].long(), sparse[1].float()
    if short:
        outside = ids < 0
        log_p = torch.cat([log_p[..., :-1].masked_fill(outside, _NEVER), log_p[..., -1:]], -1)
        # One column more, of no probability, stands for all that is outside.
        ids, logits = ids.masked_fill(outside, logits.shape[-1]), F.pad(logits, (0, 1), value=_NEVER)
    log_q = bucket_log_probs(logits, ids)
    log_p = log_p - log_p.logsumexp(-1, keepdim=True)
    divergence = kl_divergence if kind.endswith("kl") else total_variation
    loss = divergence(log_p, log_q)
    if kind.startswith("ce+"):
        loss = (loss + F.cross_entropy(logits, labels, reduction="none")) / 2
    return loss


def bucket_log_probs(logits: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    """``log softmax(logits)`` [T, V] on ``ids`` [T, k] and, last, the log of all other ids' mass: [T, k + 1].

    The tail is summed directly, not taken from one, so that it is exact where it is small. At
    k = V it is a mass of nought.
    """
    ids = ids.long()
    tail = logits.scatter(-1, ids, _NEVER).logsumexp(-1, keepdim=True)
    buckets = torch.cat([logits.gather(-1, ids), tail], -1)
    return buckets - buckets.logsumexp(-1, keepdim=True)


def kl_divergence(log_p: torch.Tensor, log_q: torch.Tensor) -> torch.Tensor:
    """KL(p ‖ q) in nats over the last dimension; an event of p = 0 counts nothing."""
    return (log_p.exp() * (log_p.clamp(min=_NEVER) - log_q)).sum(-1)


def total_variation(log_p: torch.Tensor, log_q: torch.Tensor) -> torch.Tensor:
    """TVD(p, q) = ½ Σ |p − q| over the last dimension; 1 − TVD = Σ min(p, q) is the acceptance rate of one token."""
    return (log_p.exp() - log_q.exp()).abs().sum(-1) / 2


def _refuse_altered_logits(model: Any) -> None:
    for name in _ALTERS_LOGITS:
        if getattr(model.config, name, None) not in (None, 1, 1.0):
            raise FastdraftError(
                f"This model alters its logits ({name}), so its loss cannot be computed in pieces, and one micro-batch "
                f"is more than {MAX_LOGITS:,} logits. Lower micro_batch or sequence_length."
            )
