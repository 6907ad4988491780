"""A sweep a line each: how it was made, how it ended, and everything known of one of its points."""

from __future__ import annotations

from textual.content import Content

from fastdraft_app.result_view.surface import complete
from fastdraft_app.theme.palette import Marks
from fastdraft_app.widgets.line import fields, first_fitting
from fastdraft_core.events import PointMeasured, PointPredicted
from fastdraft_core.events.sweeping import PointKey
from fastdraft_core.formatting import elide, one_line, percent, short
from fastdraft_core.results.store import Result


def plan_line(result: Result, width: int, mark: Marks) -> Content:
    """A sweep that was begun, from its plan."""
    plan = result.plan
    drafts = " ".join(short(card.name) for card in plan.drafts)
    figures = [
        named(mark.gamma, _gammas(plan.gammas)),
        named("T", ",".join(f"{t:g}" for t in plan.temperatures)),
        named("tasks", ",".join(task.name for task in plan.tasks)),
        named("within", f"{mark.plus_minus}{plan.precision * 100:g}%"),
        named("budget", f"{plan.budget:.0f} s"),
    ]
    machine = [Content(f"{plan.runtime} {plan.target.dtype}"), Content(f"{plan.threads} threads")]
    machine += [Content.styled("cache-bound", "$muted")] if result.all_cached else []
    return setup_line(plan.target.name, drafts, figures, machine, width, mark)


def end_line(result: Result | None, width: int, mark: Marks) -> Content:
    """How a sweep ended and where it is kept."""
    if result is None:
        return state_line(mark.stop, "stopped before anything was measured; space starts again", "$muted", width, mark)
    points = f"{len(result.measured)} of {result.total} points"
    name = one_line(result.plan.name, " ", " ")
    if complete(result):
        seconds = f" in {clock(result.finished.seconds)}" if result.finished is not None else ""
        return state_line(mark.done, f"complete: {points}{seconds}, kept as {name}", "$success", width, mark)
    why = {"budget": "the budget is spent", "stopped": "stopped"}.get(
        result.finished.reason if result.finished else "", "it did not come to its end"
    )
    return state_line(mark.pause, f"{why}: {points}; u goes on. Kept as {name}", "$warning", width, mark)


def setup_line(
    target: str, drafts: str, figures: list[Content], machine: list[Content], width: int, mark: Marks, lead: str = ""
) -> Content:
    """The target and the drafts, with ``lead`` before them; then as much of figures and machine as fits ``width``."""
    name, drafts = (elide(one_line(text, " ", " "), 32, mark.more) for text in (short(target), drafts))
    full = [named(f"{lead}target", name), named("drafts", drafts)]
    both = f"{lead}{name} + {drafts}"
    return first_fitting(
        width,
        fields(*full, *figures, *machine),
        fields(*full, *figures, *machine, gap=2),
        fields(*full, *figures, gap=2),
        fields(Content(both), *figures, gap=2),
        fields(Content(both), *figures[:3], gap=2),
        Content(elide(both, width, mark.more)),
    )


def named(name: str, value: str) -> Content:
    """A value with its name before it."""
    return Content.assemble((f"{name} ", "$muted"), one_line(value, " ", " "))


def _gammas(gammas: list[int]) -> str:
    if len(gammas) > 2 and gammas == list(range(gammas[0], gammas[-1] + 1)):
        return f"{gammas[0]}-{gammas[-1]}"
    return ",".join(map(str, gammas))


def state_line(sign: str, text: str, style: str, width: int, mark: Marks) -> Content:
    """A sign and a sentence on what a sweep does, in one colour."""
    return Content.assemble(
        (f"{sign} ", style), (elide(text, width - 2, mark.more), style if style != "$primary" else "$foreground")
    )


def clock(seconds: float) -> str:
    """Minutes and seconds."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02} min"


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
