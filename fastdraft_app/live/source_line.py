"""Where a recording comes from, on one line, so that nobody takes it for a run on this machine."""

from __future__ import annotations

from textual.content import Content

from fastdraft_app.theme.palette import Marks
from fastdraft_app.widgets.line import fields, first_fitting
from fastdraft_core.formatting import elide, one_line


def source(machine: str, speed: str, remark: str, width: int, mark: Marks) -> Content:
    """``machine`` and date of the recording, its ``speed``, and a ``remark`` on what else is going on."""
    machine, remark = (one_line(words, " ", " ") for words in (machine, remark))
    tail = Content.styled(remark, "$muted")
    room = max(width - len("Recording  ") - tail.cell_length - 3, 12)
    return first_fitting(
        width,
        fields(_head(f"made on {machine}, shown {speed}"), tail),
        fields(_head(f"{machine}, {speed}"), tail),
        fields(_head(elide(machine, room, mark.more)), tail),
        _head(elide(machine, max(width - len("Recording "), 0), mark.more)),
    )


def _head(words: str) -> Content:
    return Content.assemble(("Recording ", "bold"), words)
