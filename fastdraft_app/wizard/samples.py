"""Sample documents with their tokens told apart, and what a target wrote."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content

from fastdraft_app.theme.palette import marks
from fastdraft_core.events import Previewed
from fastdraft_core.formatting import elide, one_line

_LINES = 6
"""Lines of a sample that are shown."""


def sample_lines(found: Sequence[Previewed] | str, width: int, *, ascii_only: bool) -> Content:
    """Each sample under its title, every second token raised; or why there are none."""
    if isinstance(found, str):
        return Content.styled(one_line(found, " ", " "), "$error")
    parts: list[Content] = []
    for sample in found:
        title = one_line(sample.title, " ", " ", ascii_only)
        parts += [
            Content.styled(elide(title, width, marks(ascii_only).more), "bold"),
            _tokens(sample, width, ascii_only),
        ]
        parts.append(Content(""))
    return Content("\n").join(parts)


def _tokens(sample: Previewed, width: int, ascii_only: bool) -> Content:
    """The tokens one after the other, as many as fill some lines; without colours a bar stands between them."""
    mark = marks(ascii_only)
    parts, room = list[Content](), _LINES * width
    for number, token in enumerate(sample.tokens):
        text = one_line(token, mark.newline, mark.tab, ascii_only) or mark.dot
        room -= len(text) + 1
        if room < 0:
            break
        style = "$muted" if number < sample.given else "$foreground"
        parts.append(Content.styled(text, f"{style} on $panel" if number % 2 else style))
    return Content("|" if ascii_only else "").join(parts)
