"""PT, CP and FT as one bar: each as wide as its share of the training tokens."""

from __future__ import annotations

from rich.cells import cell_len
from textual.content import Content

from fastdraft_app.theme.palette import Marks
from fastdraft_app.widgets.bars import bar
from fastdraft_core.formatting import count, percent
from fastdraft_core.jobs.view import JobView, StageView

_LEAST = 6


def stage_bar(view: JobView, width: int, mark: Marks) -> Content:
    """``PT ━━━━ 100 %  CP ━━── 45 %  FT ──── 0 %``, the stage at work in bold."""
    if not view.stages:
        return Content.styled("no stage is known: the recipe cannot be read", "$muted")
    labels = [(f"{stage.name.upper()} ", f" {percent(stage.share)}") for stage in view.stages]
    gaps = 2 * (len(labels) - 1)
    room = max(width - gaps - sum(cell_len(a) + cell_len(b) for a, b in labels), _LEAST * len(labels))
    widths = _shares([stage.total_tokens for stage in view.stages], room)
    parts = [
        Content.assemble(
            (before, "bold" if stage.name == view.stage else "$muted"), _bar(stage, cells, mark), (after, "$muted")
        )
        for stage, cells, (before, after) in zip(view.stages, widths, labels, strict=True)
    ]
    return Content("  ").join(parts)


def progress_words(view: JobView) -> str:
    """Tokens done of all and the time left with what it rests on; ``doing`` where something else goes on."""
    total = sum(stage.total_tokens for stage in view.stages)
    tokens = f"{count(sum(s.tokens for s in view.stages))} of {count(total)} training tokens" if total else ""
    left = str(view.left) if view.left else ""
    # What is cut off at the end is what one sees elsewhere, too.
    parts = [view.doing, left, tokens] if view.aside else [view.doing, tokens, left]
    return "; ".join(filter(None, parts))


def _bar(stage: StageView, width: int, mark: Marks) -> Content:
    if stage.finished:
        return Content.styled(mark.bars[0] * width, "$success")
    return bar([(stage.share, "$primary")], width, mark)


def _shares(weights: list[int], room: int) -> list[int]:
    """``room`` cells split by ``weights``, none below a least width."""
    spare, whole = room - _LEAST * len(weights), sum(weights) or 1
    return [_LEAST + spare * weight // whole for weight in weights]
