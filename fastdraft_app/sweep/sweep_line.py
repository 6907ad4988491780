"""What a sweep is asked to do, and how far it is: a line each."""

from __future__ import annotations

from textual.content import Content

from fastdraft_app.settings.settings import Settings
from fastdraft_app.sweep.session import SweepPhase, SweepSession, complete
from fastdraft_app.sweep.setup import drafts_of
from fastdraft_app.theme.palette import Marks
from fastdraft_app.widgets.gauges import bar
from fastdraft_app.widgets.line import fields, first_fitting
from fastdraft_core.formatting import elide, one_line, short
from fastdraft_core.results.store import Result

_BAR = 16


def asked_line(settings: Settings, width: int, mark: Marks, *, lead: str = "") -> Content:
    """The next sweep, from the settings; ``lead`` says so where another one is on screen."""
    drafts = " ".join(short(name) for name in drafts_of(settings)) or "none"
    paper = settings.sweep_preset == "paper"
    tasks = _named("tasks", "the paper's four" if paper else settings.sweep_task)
    figures = [
        _named(mark.gamma, "3" if paper else settings.sweep_gamma),
        _named("T", "0.6" if paper else settings.sweep_temp),
        _named("prompts", short(settings.sweep_file)) if settings.sweep_file else tasks,
        _named("within", f"{mark.plus_minus}{settings.sweep_within}"),
        _named("budget", settings.sweep_budget),
    ]
    return _line(settings.target, drafts, figures, [Content(settings.runtime)], width, mark, lead)


def plan_line(result: Result, width: int, mark: Marks) -> Content:
    """A sweep that was begun, from its plan."""
    plan = result.plan
    drafts = " ".join(short(card.name) for card in plan.drafts)
    figures = [
        _named(mark.gamma, _gammas(plan.gammas)),
        _named("T", ",".join(f"{t:g}" for t in plan.temperatures)),
        _named("tasks", ",".join(task.name for task in plan.tasks)),
        _named("within", f"{mark.plus_minus}{plan.precision * 100:g}%"),
        _named("budget", f"{plan.budget:.0f} s"),
    ]
    machine = [Content(f"{plan.runtime} {plan.target.dtype}"), Content(f"{plan.threads} threads")]
    machine += [Content.styled("cache-bound", "$muted")] if result.all_cached else []
    return _line(plan.target.name, drafts, figures, machine, width, mark)


def _line(
    target: str, drafts: str, figures: list[Content], machine: list[Content], width: int, mark: Marks, lead: str = ""
) -> Content:
    name, drafts = (elide(one_line(text, " ", " "), 32, mark.more) for text in (short(target), drafts))
    full = [_named(f"{lead}target", name), _named("drafts", drafts)]
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


def _named(name: str, value: str) -> Content:
    return Content.assemble((f"{name} ", "$muted"), one_line(value, " ", " "))


def _gammas(gammas: list[int]) -> str:
    if len(gammas) > 2 and gammas == list(range(gammas[0], gammas[-1] + 1)):
        return f"{gammas[0]}-{gammas[-1]}"
    return ",".join(map(str, gammas))


def progress_line(session: SweepSession, now: float, beat: int, width: int, mark: Marks) -> Content:
    """What is going on, how far it is, and what is left of its time."""
    spinner = mark.spinner[beat % len(mark.spinner)]
    match session.phase:
        case SweepPhase.IDLE:
            return _words(
                mark.stop,
                "space starts this sweep, c and d change it, 5 has kept results",
                "$muted",
                width,
                mark,
            )
        case SweepPhase.LOADING:
            return _words(spinner, f"loading target and drafts, {now - session.begun:.0f} s", "$primary", width, mark)
        case SweepPhase.MEASURING | SweepPhase.STOPPING:
            return _measuring(session, spinner, width, mark)
        case SweepPhase.FAILED:
            return _words(mark.stop, "the sweep ended too early; space tries again", "$error", width, mark)
        case _:
            return end_line(session.result, width, mark)


def end_line(result: Result | None, width: int, mark: Marks) -> Content:
    """How a sweep ended and where it is kept."""
    if result is None:
        return _words(mark.stop, "stopped before anything was measured; space starts again", "$muted", width, mark)
    points = f"{len(result.measured)} of {result.total} points"
    name = one_line(result.plan.name, " ", " ")
    if complete(result):
        seconds = f" in {clock(result.finished.seconds)}" if result.finished is not None else ""
        return _words(mark.done, f"complete: {points}{seconds}, kept as {name}", "$success", width, mark)
    why = {"budget": "the budget is spent", "stopped": "stopped"}.get(
        result.finished.reason if result.finished else "", "it did not come to its end"
    )
    return _words(mark.pause, f"{why}: {points}; u goes on. Kept as {name}", "$warning", width, mark)


def _measuring(session: SweepSession, spinner: str, width: int, mark: Marks) -> Content:
    progress = session.progress
    if progress is None:
        return _words(spinner, "stopping", "$primary", width, mark)
    share = progress.done / progress.total if progress.total else 0.0
    left = f"{mark.at_most} {clock(progress.eta)} left" if progress.eta is not None else ""
    if session.phase is SweepPhase.STOPPING:
        left = "stops after the run in progress"
    dropped = len(session.result.dropped) if session.result is not None else 0
    tail = fields(
        Content(f"{progress.done}/{progress.total}"),
        bar([(share, "$primary")], _BAR, mark) if width >= 70 else None,
        Content.styled(left, "$muted"),
        Content.styled(f"{dropped} disturbed", "$muted") if dropped else None,
        gap=2,
    )
    what = elide(one_line(progress.what, " ", " "), max(width - tail.cell_length - 5, 8), mark.more)
    return fields(Content.assemble((f"{spinner} ", "$primary"), what), tail)


def _words(sign: str, text: str, style: str, width: int, mark: Marks) -> Content:
    return Content.assemble(
        (f"{sign} ", style), (elide(text, width - 2, mark.more), style if style != "$primary" else "$foreground")
    )


def clock(seconds: float) -> str:
    """Minutes and seconds."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02} min"
