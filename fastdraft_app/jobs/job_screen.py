"""One job: stages, curves, figures, log, samples and evaluations."""

from __future__ import annotations

from typing import ClassVar

from textual import events, on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.widgets import Input, Static

from fastdraft_app.client.device_use import DeviceUse
from fastdraft_app.client.jobs import JobsClient
from fastdraft_app.client.log_tail import LogLines, LogTail
from fastdraft_app.jobs.base import JOB_BINDINGS, JobsBase
from fastdraft_app.jobs.device import DeviceLine
from fastdraft_app.jobs.job_list import state_label
from fastdraft_app.jobs.job_text import (
    acceptance_series,
    evaluation_table,
    loss_series,
    rate_series,
    samples,
    schedule_series,
)
from fastdraft_app.jobs.log_pane import LogPane
from fastdraft_app.jobs.uses import USE_BINDINGS
from fastdraft_app.widgets.banner import Banner
from fastdraft_app.widgets.chart import Chart, legend
from fastdraft_app.widgets.key_bar import KeyBar
from fastdraft_app.widgets.line import TextLine
from fastdraft_core.formatting import in_bytes, one_line
from fastdraft_core.jobs.describe import last_sign
from fastdraft_core.jobs.processes import LOG
from fastdraft_core.jobs.view import JobView

VIEWS = ("loss", "acceptance", "evaluations", "samples", "log", "schedule", "rate")
"""What one can look at; a large screen shows them together."""


class JobScreen(JobsBase):
    """Everything of one job; a small screen shows one part at a time, ``v`` the next one."""

    CSS_PATH = "job.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back", "back", id="job.back", tooltip="end the search, else back to all jobs"),
        Binding("v", "view(1)", "view", id="job.view", tooltip="the next part: loss, acceptance, evaluations, samples, log, rates"),
        Binding("V", "view(-1)", "view", id="job.view-back", show=False, tooltip="the part before"),
        *USE_BINDINGS,
        Binding("s", "smooth", "smooth", id="job.smooth", tooltip="average the training loss, or show every step"),
        Binding("L", "log_scale", "log scale", id="job.log-scale", tooltip="logarithmic losses, or plain ones"),
        Binding("slash", "search", "search", id="job.search", key_display="/", tooltip="show the log lines with a word alone"),
        *JOB_BINDINGS,
    ]  # fmt: skip

    class LogRead(Message):
        """What was added to the log."""

        def __init__(self, added: LogLines) -> None:
            super().__init__()
            self.added = added

    def __init__(self, client: JobsClient, name: str, *, ascii_only: bool) -> None:
        super().__init__(client, ascii_only=ascii_only)
        self._job = name
        self._shown: JobView | None = None
        self._other: JobView | None = None
        self._smooth = True
        self._log_scale = False
        self._part = 0
        self._left = self._popped = False
        self._tail: LogTail | None = None
        self._reading = False

    def compose(self) -> ComposeResult:
        """Lines on top, parts below."""
        mark = self._ascii
        yield TextLine(id="title")
        yield Banner(id="banner")
        yield TextLine(id="stages")
        yield TextLine(id="progress", grows=True)
        yield TextLine(id="figures")
        yield DeviceLine(DeviceUse().poll, lambda: None if self.frozen else self._shown, id="device")
        with Container(id="parts"):
            yield Chart("loss, nats a token", "no steps yet", ascii_only=mark, id="loss")
            yield Chart("expected acceptance, T 1", "no evaluation yet", ascii_only=mark, id="acceptance")
            yield Chart("learning rate", "no steps yet", ascii_only=mark, id="schedule")
            yield Chart("tokens/s", "no steps yet", ascii_only=mark, id="rate")
            with VerticalScroll(id="evaluations"):
                yield Static(id="table", markup=False)
            with VerticalScroll(id="samples"):
                yield Static(id="texts", markup=False)
            yield LogPane(id="log")
        yield TextLine(id="legend")
        yield Input(placeholder="part of a line of the log; esc shows all", id="search", compact=True)
        yield KeyBar(ascii_only=self._ascii, id="keys")

    @property
    def chosen(self) -> JobView | None:
        """This job, as it was read last."""
        return self._shown

    def on_mount(self) -> None:
        """Begin with the loss."""
        for name in ("evaluations", "samples"):
            self.query_one(f"#{name}").border_title = name
        self._choose_part()

    # --- drawing ------------------------------------------------------------------------------

    def draw_header(self) -> None:
        """Name, state, place; nothing more is known before the first poll."""
        view = self._shown
        if view is None:
            self.line("title", Content.styled(f"reading {one_line(self._job, ' ', ' ')}", "$muted"))
            return
        if not self.frozen:
            self._read_log(view)
        where = f"process {view.pid}" if view.pid else last_sign(view)
        facts = f"  {view.device}  {in_bytes(view.size)}  {where}"
        self.line(
            "title",
            Content.assemble(
                (one_line(view.name, " ", " "), "bold"),
                "  ",
                state_label(view, self._marks),
                (facts, "$muted"),
                (f"  {self.age}", "$warning"),
            ),
        )

    def draw(self, views: list[JobView]) -> None:
        """Show this one of the jobs; back to the list where it is gone."""
        found = next((view for view in views if view.name == self._job), None)
        if found is None:
            self._gone()
            return
        other = self.beside(found)
        if found is not self._shown or other is not self._other:
            self._shown, self._other = found, other
            self._draw_job(found)

    def _gone(self) -> None:
        if not self._left:
            self.notify(f"Job {self._job} is not there any more.", markup=False)
            self._leave()

    def _leave(self) -> None:
        """Go back to all jobs, once: the deletion and the next poll may both say that the job is gone."""
        self._left = True
        # Under a question a screen counts as current, too.
        if self.app.screen is self and not self._popped:
            self._popped = True
            self.app.pop_screen()

    @on(events.ScreenResume)
    def _leave_late(self) -> None:
        """The job went while a question or another screen lay over this one."""
        if self._left:
            self.call_after_refresh(self._leave)

    def _draw_job(self, view: JobView) -> None:
        self.draw_header()
        self.draw_work(view, self.size.width - 2)
        self._draw_charts(view)
        width = self.query_one("#evaluations").size.width or self.size.width
        self.query_one("#table", Static).update(evaluation_table(view, width - 2, self._marks))
        self.query_one("#texts", Static).update(samples(list(view.samples.values()), self._ascii))

    def _draw_charts(self, view: JobView) -> None:
        losses = loss_series(view, smooth=self._smooth, other=self._other)
        acceptances = acceptance_series(view, self._other)
        self._chart("loss").show(losses, "{:.2f}".format, log=self._log_scale)
        self._chart("acceptance").show(acceptances, "{:.2f}".format)
        self._chart("schedule").show(schedule_series(view), "{:.1e}".format)
        self._chart("rate").show(rate_series(view), "{:,.0f}".format)
        drawn = {"loss": losses, "acceptance": acceptances}
        # A large screen shows both charts at once.
        names = list(drawn) if self.has_class("-wide") and self.has_class("-tall") else [VIEWS[self._part]]
        named = [(name, legend(drawn.get(name, []), "{:.3f}".format, ascii_only=self._ascii)) for name in names]
        titles = len(names) > 1
        parts = [Content.assemble((f"{name}  " * titles, "$muted"), words) for name, words in named if words.plain]
        self.line("legend", Content("      ").join(parts))
        self.query_one("#legend").display = bool(parts)

    def _chart(self, name: str) -> Chart:
        return self.query_one(f"#{name}", Chart)

    def _read_log(self, view: JobView) -> None:
        """Read on, unless the last look is still under way: its lines would come twice."""
        if not self._reading:
            self._reading = True
            self._read_tail(self._tail or LogTail(view.folder / LOG))

    @work(thread=True, group="log")
    def _read_tail(self, tail: LogTail) -> None:
        self._tail = tail
        self.post_message(self.LogRead(tail.read()))

    @on(LogRead)
    def _show_log(self, event: LogRead) -> None:
        self._reading = False
        self.query_one("#log", LogPane).add(event.added.lines, anew=event.added.anew)

    def on_resize(self) -> None:
        """Fit the texts to the new width."""
        if self._shown is not None:
            self.call_after_refresh(self._draw_job, self._shown)

    def _comparing(self, view: JobView) -> bool:
        return self.beside(view) is not None

    # --- keys ---------------------------------------------------------------------------------

    def action_view(self, change: int) -> None:
        """Show the next part, or the one before."""
        self._part = (self._part + change) % len(VIEWS)
        self._choose_part()

    def _choose_part(self) -> None:
        for number, name in enumerate(VIEWS):
            self.query_one(f"#{name}").set_class(number == self._part, "-shown")
            self.set_class(number == self._part, f"-part-{name}")
        self.query_one(f"#{VIEWS[self._part]}").focus()
        if self._shown is not None:
            self.call_after_refresh(self._draw_job, self._shown)

    def action_smooth(self) -> None:
        """Average the training loss, or not."""
        self._smooth = not self._smooth
        if self._shown is not None:
            self._draw_charts(self._shown)

    def action_log_scale(self) -> None:
        """Draw losses on a logarithmic axis, or not."""
        self._log_scale = not self._log_scale
        if self._shown is not None:
            self._draw_charts(self._shown)

    def action_search(self) -> None:
        """Ask for a word."""
        self.add_class("-searching")
        self._part = VIEWS.index("log")
        self._choose_part()
        self.query_one("#search", Input).focus()

    @on(Input.Changed, "#search")
    def _search(self, event: Input.Changed) -> None:
        self.query_one("#log", LogPane).search(event.value)

    @on(Input.Submitted, "#search")
    def _searched(self) -> None:
        self.query_one("#log").focus()

    def action_back(self) -> None:
        """End the search, else go back to all jobs."""
        if self.has_class("-searching"):
            self.remove_class("-searching")
            self.query_one("#search", Input).value = ""
            self.query_one("#log").focus()
        else:
            self.app.pop_screen()

    def deleted(self, done: bool) -> None:
        """The job is gone, or its deletion was refused."""
        if done:
            self._leave()
        else:
            super().deleted(done)
