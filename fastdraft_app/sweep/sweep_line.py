"""What the next sweep is asked to do, and how far the present one is: a line each."""

from __future__ import annotations

from textual.content import Content

from fastdraft_app.result_view.lines import clock, end_line, named, setup_line, state_line
from fastdraft_app.settings.settings import Settings
from fastdraft_app.sweep.session import SweepPhase, SweepSession
from fastdraft_app.sweep.setup import drafts_of
from fastdraft_app.theme.palette import Marks
from fastdraft_app.widgets.bars import bar
from fastdraft_app.widgets.line import fields
from fastdraft_core.formatting import elide, one_line, short

_BAR = 16


def asked_line(settings: Settings, width: int, mark: Marks, *, lead: str = "") -> Content:
    """The next sweep, from the settings; ``lead`` says so where another one is on screen."""
    drafts = " ".join(short(name) for name in drafts_of(settings)) or "none"
    paper = settings.sweep_preset == "paper"
    tasks = named("tasks", "the paper's four" if paper else settings.sweep_task)
    figures = [
        named(mark.gamma, "3" if paper else settings.sweep_gamma),
        named("T", "0.6" if paper else settings.sweep_temp),
        named("prompts", short(settings.sweep_file)) if settings.sweep_file else tasks,
        named("within", f"{mark.plus_minus}{settings.sweep_within}"),
        named("budget", settings.sweep_budget),
    ]
    return setup_line(settings.target, drafts, figures, [Content(settings.runtime)], width, mark, lead)


def progress_line(session: SweepSession, now: float, beat: int, width: int, mark: Marks) -> Content:
    """What is going on, how far it is, and what is left of its time."""
    spinner = mark.spinner[beat % len(mark.spinner)]
    match session.phase:
        case SweepPhase.IDLE:
            return state_line(
                mark.stop,
                "space starts this sweep, c and d change it, 5 has kept results",
                "$muted",
                width,
                mark,
            )
        case SweepPhase.LOADING:
            return state_line(
                spinner, f"loading target and drafts, {now - session.begun:.0f} s", "$primary", width, mark
            )
        case SweepPhase.MEASURING | SweepPhase.STOPPING:
            return _measuring(session, spinner, width, mark)
        case SweepPhase.FAILED:
            return state_line(mark.stop, "the sweep ended too early; space tries again", "$error", width, mark)
        case _:
            return end_line(session.result, width, mark)


def _measuring(session: SweepSession, spinner: str, width: int, mark: Marks) -> Content:
    progress = session.progress
    if progress is None:
        return state_line(spinner, "stopping", "$primary", width, mark)
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
