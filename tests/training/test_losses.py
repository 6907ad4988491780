"""Losses: sparse distillation against its dense form, its bounds, its gradients, and its memory."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from fastdraft_core.data.sparse import top_log_probs
from fastdraft_core.errors import FastdraftError
from fastdraft_core.training.losses import next_token_loss, token_losses
from tests.runtimes.models import VOCABULARY, small_model

KINDS = ["ce", "ce+kl", "ce+tvd", "kl", "tvd"]
TOKENS, VOCAB = 5, 11
seeds, scales = st.integers(0, 10_000), st.sampled_from([0.1, 1.0, 8.0, 40.0])


def drawn(seed: int, scale: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Draft logits, target logits and labels; a large scale makes distributions that rule most ids out."""
    torch.manual_seed(seed)
    draft, target = scale * torch.randn(2, TOKENS, VOCAB, dtype=torch.float64).float()
    return draft, target, torch.randint(0, VOCAB, (TOKENS,))


def dense(kind: str, draft: torch.Tensor, target: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The paper's losses, written over the whole vocabulary."""
    p, q = target.softmax(-1), draft.softmax(-1)
    parts = {
        "ce": F.cross_entropy(draft, labels, reduction="none"),
        "kl": F.kl_div(draft.log_softmax(-1), target.log_softmax(-1), reduction="none", log_target=True).sum(-1),
        "tvd": 1 - torch.minimum(p, q).sum(-1),
    }
    names = kind.split("+")
    return sum(parts[name] for name in names) / len(names)


def gradient(losses: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    return torch.autograd.grad(losses.sum(), logits)[0]


@pytest.mark.parametrize("kind", KINDS)
@given(seed=seeds, scale=scales)
def test_all_ids_kept_is_the_dense_loss(kind: str, seed: int, scale: float) -> None:
    """k = V: the same value and the same gradient as the textbook's formula by autograd."""
    draft, target, labels = drawn(seed, scale)
    draft.requires_grad_()
    sparse, whole = token_losses(kind, draft, labels, top_log_probs(target, VOCAB)), dense(kind, draft, target, labels)
    torch.testing.assert_close(sparse, whole, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(gradient(sparse, draft), gradient(whole, draft), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["kl", "tvd"])
@given(seed=seeds, scale=scales, k=st.integers(1, VOCAB - 1))
def test_a_tail_bucket_never_says_more_than_the_dense_loss(kind: str, seed: int, scale: float, k: int) -> None:
    """Merging ids into a bucket can only hide a difference: between nought and the dense loss, and growing with k."""
    draft, target, labels = drawn(seed, scale)
    fewer, more = (token_losses(kind, draft, labels, top_log_probs(target, n)) for n in (k, k + 1))
    assert (fewer >= -1e-5).all()
    assert (fewer <= more * (1 + 1e-4) + 1e-5).all()
    assert (more <= dense(kind, draft, target, labels) * (1 + 1e-4) + 1e-5).all()


@pytest.mark.parametrize("kind", KINDS)
@given(seed=seeds, scale=scales, k=st.integers(1, VOCAB))
def test_gradients_are_finite_and_sum_to_nought(kind: str, seed: int, scale: float, k: int) -> None:
    """Also where q gives the target's tokens, or the tail, no probability at all; a shift of all logits changes nothing."""
    draft, target, labels = drawn(seed, scale)
    draft.requires_grad_()
    losses = token_losses(kind, draft, labels, top_log_probs(target, k))
    slope = gradient(losses, draft)
    assert losses.isfinite().all()
    assert slope.isfinite().all()
    assert (slope.sum(-1).abs() < 1e-4).all()
    assert (slope.abs() <= 1 + 1e-4).all()


@pytest.mark.parametrize("kind", ["kl", "tvd"])
@given(seed=seeds, k=st.integers(1, VOCAB - 2))
def test_equal_distributions_cost_nothing_and_a_gap_does(kind: str, seed: int, k: int) -> None:
    """The minimum is the target itself; negative control: another draft has a loss and a gradient."""
    _, target, labels = drawn(seed, 1.0)
    stored, draft = top_log_probs(target, k), target.clone().requires_grad_()
    equal = token_losses(kind, draft, labels, stored)
    assert equal.abs().max() < 1e-5
    moved = target.clone()
    moved[:, stored[0][:, 0]] -= 2.0
    assert (token_losses(kind, moved.requires_grad_(), labels, stored) > 1e-3).any()


@given(seed=seeds, k=st.integers(1, VOCAB - 2))
def test_the_gradient_of_kl_is_the_closed_form(seed: int, k: int) -> None:
    """dKL/dz = q - p on the kept ids; the tail's mass of p is spread as q spreads its own."""
    draft, target, labels = drawn(seed, 2.0)
    draft.requires_grad_()
    ids, log_probs = top_log_probs(target, k)
    q, p = draft.detach().softmax(-1), log_probs.exp()
    tail = torch.ones_like(q).scatter(-1, ids, 0.0) * q
    expected = q - (tail / tail.sum(-1, keepdim=True) * p[:, -1:]).scatter(-1, ids, p[:, :-1])
    found = gradient(token_losses("kl", draft, labels, (ids, log_probs)), draft)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@given(seed=seeds, scale=scales)
def test_stored_as_float16_it_is_still_a_distribution(seed: int, scale: float) -> None:
    """What the files hold is rounded; the loss sees probabilities that sum to one and differ by the rounding only."""
    draft, target, labels = drawn(seed, scale)
    ids, log_probs = top_log_probs(target, 4)
    exact, rounded = (token_losses("tvd", draft, labels, (ids, lp)) for lp in (log_probs, log_probs.half()))
    torch.testing.assert_close(exact, rounded, rtol=0, atol=2e-3)


def batch(k: int = 4) -> tuple[torch.Tensor, torch.Tensor, Any]:
    torch.manual_seed(1)
    ids = torch.randint(0, VOCABULARY, (3, 17))
    return ids, torch.rand(3, 17) < 0.7, top_log_probs(torch.randn(3, 17, VOCABULARY), k)


class Largest(TorchDispatchMode):
    """The most float32 numbers of any tensor that an operation makes, in the forward and the backward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        sizes = [t.numel() for t in tree_leaves(made) if isinstance(t, torch.Tensor) and t.dtype == torch.float32]
        self.numbers = max(self.numbers, *sizes, 0)
        return made


@pytest.mark.parametrize("kind", KINDS)
def test_pieces_give_the_same_loss_without_the_whole_logits(kind: str) -> None:
    """A large vocabulary: the head runs on pieces, and no tensor reaches the size of all logits, backward included."""
    ids, mask, sparse = batch()
    gradients, sizes = [], []
    for pieces in (1, 8):
        model = small_model("llama", vocab_size=VOCABULARY, intermediate_size=33)
        model.zero_grad()
        with Largest() as largest:
            loss = next_token_loss(model, ids, mask, kind, sparse, max_logits=48 * VOCABULARY // pieces)
            loss.backward()
        sizes.append(largest.numbers)
        gradients.append([loss.detach(), *(p.grad.clone() for p in model.parameters())])
    for one, eight in zip(*gradients, strict=True):
        torch.testing.assert_close(one, eight, rtol=1e-4, atol=1e-5)
    assert sizes[0] >= 48 * VOCABULARY
    # What is left are the hidden states and the gradient of the head's own weights.
    assert sizes[1] <= VOCABULARY * 33


def test_a_model_that_alters_its_logits_is_not_cut_into_pieces() -> None:
    """Gemma squashes its logits after the head; pieces that miss this would train another model."""
    ids, mask, _ = batch()
    model = small_model("gemma2")
    assert next_token_loss(model, ids, mask).isfinite()
    with pytest.raises(FastdraftError, match="final_logit_softcapping"):
        next_token_loss(model, ids, mask, max_logits=5 * VOCABULARY)


@torch.no_grad()
def test_masked_tokens_teach_nothing() -> None:
    """FT counts only what the target wrote: the loss over a masked-out prefix is nought."""
    ids, _, _ = batch()
    model, mask = small_model("llama"), torch.zeros_like(ids, dtype=torch.bool)
    assert float(next_token_loss(model, ids, mask)) == 0
    mask[0, 5] = True
    assert 0 < float(next_token_loss(model, ids, mask)) < float(next_token_loss(model, ids, ~mask))


def test_labels_and_probabilities_are_of_the_next_token() -> None:
    """A model that knows every next token has no loss of any kind; shifted by one place it would learn to copy."""
    from types import SimpleNamespace

    def knows(input_ids: torch.Tensor, use_cache: bool) -> SimpleNamespace:
        return SimpleNamespace(logits=50.0 * F.one_hot(input_ids + 1, 40).float())

    ids = torch.arange(20).repeat(2, 1)
    of_each = top_log_probs(50.0 * F.one_hot(ids, 40).float(), 3)
    for kind in KINDS:
        assert float(next_token_loss(knows, ids, torch.ones_like(ids), kind, of_each)) == pytest.approx(0, abs=1e-3)
