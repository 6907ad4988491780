"""Two results as rows: a point a row, the difference in words and marks."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from textual.content import Content

from fastdraft_app.result_view.surface import made, title
from fastdraft_app.theme.palette import Marks
from fastdraft_core.events import PointMeasured
from fastdraft_core.formatting import elide, one_line, short
from fastdraft_core.results.compare import Difference
from fastdraft_core.results.store import Result

_FIGURE = 19
_CHANGE = 9
_MARK = 11


def heading(letter: str, result: Result, width: int, mark: Marks) -> Content:
    """Which result a letter stands for."""
    plan = result.plan
    points = f"{len(result.measured)}/{result.total} points"
    words = f"{made(result)}  {title(result)}  {plan.runtime}  {points}  {plan.name}"
    return Content.assemble((f"{letter} ", "bold $primary"), elide(one_line(words, " ", " "), width - 2, mark.more))


def counted(found: Sequence[Difference], mark: Marks) -> Content:
    """The answer in one sentence."""
    if not found:
        return Content.styled("They have no measured point in common (draft, gamma, temperature and task).", "$warning")
    beyond = [difference for difference in found if difference.mark]
    if not beyond:
        return Content.styled(f"None of the {len(found)} common points differs beyond the noise of both.", "bold")
    up = sum(difference.mark == "higher" for difference in beyond)
    words = f"{len(beyond)} of {len(found)} common points differ beyond noise: "
    return Content.assemble(
        (words, "bold"),
        (f"{mark.faster} {up} faster in B", "bold $success"),
        (", ", "bold"),
        (f"{mark.slower} {len(beyond) - up} slower", "bold $error"),
    )


def compare_rows(found: Sequence[Difference], width: int, mark: Marks) -> list[Content]:
    """A head and a row for every common point, the largest difference first."""
    if not found:
        return [Content("")]
    name = max(width - 2 * _FIGURE - _CHANGE - _MARK, 16)
    longest = max(len(_point(difference.first, mark)) for difference in found) + 2
    name = min(name, longest)
    head = f"{'point':<{name}}{'A (95 %)':>{_FIGURE}}{'B (95 %)':>{_FIGURE}}{'B to A':>{_CHANGE}}  in B"
    return [Content.styled(head, "bold $muted"), *(_row(difference, name, mark) for difference in found)]


def _row(difference: Difference, name: int, mark: Marks) -> Content:
    point = elide(_point(difference.first, mark), name - 1, mark.more)
    sign, words, style = {
        "higher": (mark.faster, "faster", "bold $success"),
        "lower": (mark.slower, "slower", "bold $error"),
        "": (mark.alike, "noise", "$muted"),
    }[difference.mark]
    return Content.assemble(
        (point + " " * (name - cell_len(point)), "$muted" if not difference.mark else "$foreground"),
        f"{_figure(difference.first, mark):>{_FIGURE}}{_figure(difference.second, mark):>{_FIGURE}}",
        (f"{(difference.ratio - 1) * 100:+.1f} %".rjust(_CHANGE), style),
        (f"  {sign} {words}", style),
    )


def _point(point: PointMeasured, mark: Marks) -> str:
    text = f"{short(point.draft)} {mark.gamma} {point.gamma}, {point.task}, T {point.temperature:g}"
    return one_line(text, " ", " ")


def _figure(point: PointMeasured, mark: Marks) -> str:
    return f"{point.speedup:.2f} ({point.low:.2f}{mark.dash}{point.high:.2f})"


def condition_rows(lines: Sequence[str], ascii_only: bool) -> Content:
    """What else differs between both, which could be the reason."""
    if not lines:
        return Content("Machine, models, prompts and settings are the same in both.")
    return Content("\n").join(
        [
            Content("Measured under other conditions, A / B:"),
            *(Content(f"  {one_line(line, ' ', ' ', ascii_only)}") for line in lines),
        ]
    )
