"""Who is optimised by what, and what an update does."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fastdraft_core.training.optimizers import COEFFICIENTS, Muon, make_optimizers, orthogonalize
from tests.training.tiny import tiny_run, tiny_stage


@pytest.mark.parametrize(("optimizer", "kinds"), [("muon", ["AdamW", "Muon"]), ("adamw", ["AdamW"])])
def test_every_parameter_has_one_optimizer(tmp_path: Path, optimizer: str, kinds: list[str]) -> None:
    """A parameter in no optimizer never learns, one in two learns twice; norms and biases do not decay."""
    model = tiny_run(tmp_path).model
    optimizers = make_optimizers(model, tiny_stage(optimizer=optimizer), 0.01)
    groups = [group for o in optimizers for group in o.param_groups]
    held = [id(p) for group in groups for p in group["params"]]
    assert [type(o).__name__ for o in optimizers] == kinds
    assert sorted(held) == sorted(id(p) for p in model.parameters())
    assert all(group["weight_decay"] == 0 for group in groups if any(p.ndim < 2 for p in group["params"]))


@given(st.integers(0, 1000), st.sampled_from([(6, 6), (4, 9), (9, 4)]))
def test_an_update_is_the_polynomial_of_the_singular_values(seed: int, shape: tuple[int, int]) -> None:
    """Newton-Schulz, against its definition on a singular value decomposition; directions stay, lengths become alike."""
    torch.manual_seed(seed)
    matrices = torch.randn(3, *shape, dtype=torch.float64)
    u, values, v = torch.linalg.svd(matrices, full_matrices=False)
    values = values / values.norm(dim=-1, keepdim=True)
    a, b, c = COEFFICIENTS
    for _ in range(5):
        values = a * values + b * values**3 + c * values**5
    torch.testing.assert_close(orthogonalize(matrices), u @ torch.diag_embed(values) @ v, rtol=1e-5, atol=1e-7)


@given(st.integers(0, 1000))
def test_singular_values_are_drawn_towards_one(seed: int) -> None:
    """What Muon is for: after the update no direction of a matrix of usual condition is left behind."""
    torch.manual_seed(seed)
    values = torch.linalg.svdvals(orthogonalize(torch.randn(1, 16, 48)))
    assert 0.5 < float(values.min()) <= float(values.max()) < 1.3


def test_muon_is_torchs_but_for_its_rounding() -> None:
    """The same optimizer as torch.optim.Muon, which rounds to bfloat16: weights stay within that rounding over ten steps."""
    torch.manual_seed(0)
    ours = [torch.nn.Parameter(torch.randn(shape)) for shape in ((8, 24), (8, 24), (24, 8), (8, 8))]
    theirs = [torch.nn.Parameter(p.detach().clone()) for p in ours]
    start = [p.detach().clone() for p in ours]
    settings = {"lr": 0.02, "weight_decay": 0.1}
    optimizers = Muon(ours, **settings), torch.optim.Muon(theirs, adjust_lr_fn="match_rms_adamw", **settings)
    for _ in range(10):
        for a, b in zip(ours, theirs, strict=True):
            a.grad = torch.randn_like(a)
            b.grad = a.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    for a, b, before in zip(ours, theirs, start, strict=True):
        assert (a - b).norm() < 0.03 * (b - before).norm()
