"""Start a draft of any shape with what its target knows about tokens: the target's embeddings, made narrow.

The table [V, D] is centred and projected onto its principal components, as many as the draft is wide, so that of all linear
maps this one keeps most of the distances between tokens. It is then scaled to the spread that untrained embeddings have.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastdraft_core.errors import FastdraftError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


def project_embeddings(model: PreTrainedModel, target: PreTrainedModel, name: str) -> str:
    """Give ``model`` the projected embeddings of ``target``, whose name people know; tells in words what it got.

    A head of its own gets those of the target's head.

    Raises:
        FastdraftError: the draft is not narrower than its target, or has another number of ids.
    """
    import torch

    table, head = _table(model.get_input_embeddings()), model.get_output_embeddings()
    theirs = _table(target.get_input_embeddings())
    if table.shape[0] != theirs.shape[0] or table.shape[1] >= theirs.shape[1]:
        raise FastdraftError(
            f"init.method = 'projected' makes the embeddings of {name} ({theirs.shape[0]:,} ids, {theirs.shape[1]} wide) narrower, "
            f"and this draft has {table.shape[0]:,} ids and is {table.shape[1]} wide. Make model.hidden_size smaller."
        )
    with torch.no_grad():
        narrow, kept = principal_components(theirs, table.shape[1])
        table.copy_(narrow * (_spread(model) / narrow.std()))
        if head is not None and _table(head) is not table:
            # A target that ties its tables has one for both.
            narrow, _ = principal_components(_table(target.get_output_embeddings()), table.shape[1])
            _table(head).copy_(narrow * (_spread(model) / narrow.std()))
    return f"the embeddings of {name} on {table.shape[1]} principal components, which hold {kept:.0%} of their variance"


def principal_components(table: torch.Tensor, width: int) -> tuple[torch.Tensor, float]:
    """The rows of ``table`` [V, D], centred, on their ``width`` principal components [V, width], and the share of variance kept."""
    import torch

    rows = table.detach().double()
    rows = rows - rows.mean(0)
    variances, axes = torch.linalg.eigh(rows.T @ rows)
    # Ascending; the sign of an axis is the solver's own, so its largest entry is made positive.
    axes = axes[:, -width:].flip(1)
    axes = axes * axes.gather(0, axes.abs().argmax(0, keepdim=True)).sign()
    return (rows @ axes).float(), float(variances[-width:].sum() / variances.sum())


def _table(module: Any) -> torch.Tensor:
    weight: torch.Tensor = module.weight
    return weight


def _spread(model: PreTrainedModel) -> float:
    return float(getattr(model.config, "initializer_range", 0.02))
