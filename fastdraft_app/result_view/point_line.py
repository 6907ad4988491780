"""Everything known of one point of a sweep, on one line."""

from __future__ import annotations

from textual.content import Content

from fastdraft_app.theme.palette import Marks
from fastdraft_app.widgets.line import fields, first_fitting
from fastdraft_core.events import PointMeasured, PointPredicted
from fastdraft_core.events.sweeping import PointKey
from fastdraft_core.formatting import elide, one_line, percent, short
from fastdraft_core.results.store import Result


def point_line(result: Result, key: PointKey, width: int, mark: Marks) -> Content:
    """The point at ``key``: measured with its interval, beside it what was predicted; as much as fits."""
    draft, gamma, temperature, task = key
    name = elide(one_line(short(draft), " ", " "), 16, mark.more)
    head = Content.assemble(
        (f"{name} {mark.gamma} {gamma}", "bold"), (f" {one_line(task, ' ', ' ')} T {temperature:g}", "$muted")
    )
    point, guess = result.measured.get(key), result.predicted.get(key)
    if point is None and guess is None:
        return fields(head, Content.styled("nothing is known of it yet", "$muted"))
    facts = [*_measured(point, mark), *_predicted(guess, measured=point is not None, mark=mark)]
    if point is not None:
        facts += _more(point, mark, cached=result.cached(draft))
    way = Content.styled("enter: live", "$muted")
    choices = [fields(head, *facts[:number], way, gap=2) for number in range(len(facts), 0, -1)]
    return first_fitting(width, *choices, fields(head, *facts[:1], gap=2))


def _measured(point: PointMeasured | None, mark: Marks) -> list[Content]:
    if point is None:
        return [Content("not measured")]
    wide = "" if point.reached else ", wide"
    interval = f" ({point.low:.2f}{mark.dash}{point.high:.2f}{wide})"
    better = "$success" if point.low > 1 else "$error" if point.high < 1 else "$foreground"
    return [Content.assemble((f"{point.speedup:.2f}{mark.times}", f"bold {better}"), interval)]


def _predicted(guess: PointPredicted | None, *, measured: bool, mark: Marks) -> list[Content]:
    if guess is None:
        return []
    words = [Content.styled(f"predicted {guess.speedup:.2f}{mark.times}", "$muted")]
    if not measured:
        words.append(Content.styled(f"{mark.tau} {guess.tau:.2f}  accepted {percent(guess.acceptance)}", "$muted"))
    return words


def _more(point: PointMeasured, mark: Marks, *, cached: bool) -> list[Content]:
    metrics, cost = point.metrics, point.cost
    peak = f", {percent(point.bandwidth_share)} of peak" if point.bandwidth_share is not None else ""
    peak = ", cache-bound" if cached else peak
    return [
        Content(f"accepted {percent(metrics.acceptance)}"),
        Content(f"{mark.tau} {metrics.tau:.2f}"),
        Content(f"{metrics.gigabytes_per_second:.1f} GB/s{peak}"),
        Content(f"{metrics.tokens_per_second:.0f} tok/s (alone {point.baseline.tokens_per_second:.0f})"),
        Content.styled(f"c {cost.draft:.2f}  v {cost.verify:.2f}  rest {cost.overhead:.2f}", "$muted"),
        Content.styled(f"MBSU {metrics.mbsu:.2f}  +{point.more_memory / 1e6:.0f} MB", "$muted"),
        Content.styled(f"{point.repeats} repeats, {point.disturbed} disturbed", "$muted"),
    ]
