"""All jobs: what runs, what waits, how the others ended; and the chosen one in short."""

from __future__ import annotations

from collections import Counter
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import OptionList, Static

from fastdraft_app.jobs.base import JOB_BINDINGS, JobsBase
from fastdraft_app.jobs.job_list import JobList, heading, state_label
from fastdraft_app.jobs.job_screen import JobScreen
from fastdraft_app.jobs.job_text import acceptance_words, loss_series, when
from fastdraft_app.jobs.uses import USE_BINDINGS
from fastdraft_app.widgets.banner import Banner
from fastdraft_app.widgets.chart import Chart
from fastdraft_app.widgets.key_bar import KeyBar
from fastdraft_app.widgets.line import TextLine, first_fitting
from fastdraft_core.formatting import one_line
from fastdraft_core.jobs.view import JobView

NO_JOBS = (
    "There are no jobs yet.\n\nPress 3 to train a draft; the bundled target needs a few minutes.\n"
    "Jobs run on their own: leaving the app, or losing the terminal, changes nothing."
)


class JobsScreen(JobsBase):
    """The list over a short view of the highlighted job; enter opens that job."""

    CSS_PATH = "jobs.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "open", "open", id="jobs.open", tooltip="all about the highlighted job", priority=True),
        Binding("j,down", "move('down')", "down", id="jobs.down", show=False, tooltip="next job"),
        Binding("k,up", "move('up')", "up", id="jobs.up", show=False, tooltip="job before"),
        *USE_BINDINGS,
        *JOB_BINDINGS,
    ]

    def compose(self) -> ComposeResult:
        """Heading, list, the chosen job in short, keys."""
        yield TextLine(id="title")
        yield TextLine(id="heading")
        yield JobList(ascii_only=self._ascii, id="jobs")
        yield Static(NO_JOBS, id="empty", markup=False)
        with Vertical(id="short"):
            yield TextLine(id="name")
            yield Banner(id="banner")
            yield TextLine(id="stages")
            yield TextLine(id="progress", grows=True)
            yield TextLine(id="figures")
            yield Chart("loss, nats a token", "no steps yet", ascii_only=self._ascii, id="loss")
        yield KeyBar(ascii_only=self._ascii, id="keys")

    @property
    def chosen(self) -> JobView | None:
        """The highlighted job."""
        return self.query_one("#jobs", JobList).chosen

    def on_mount(self) -> None:
        """The list takes the arrow keys."""
        self.query_one("#jobs").focus()

    def draw_header(self) -> None:
        """How many jobs there are in which state."""
        counts = Counter(view.state for view in self._views)
        words = [f"{number} {state}" for state, number in counts.items()]
        told = self._problem or f" {self._marks.dot} ".join(words)
        self.line(
            "title",
            Content.assemble(("Jobs  ", "bold"), told, (self._marked(), "$primary"), (f"  {self.age}", "$warning")),
        )
        self.set_class(not self._views, "-empty")
        self.line("heading", heading(max(self.size.width - 5, 40)))

    def _marked(self) -> str:
        return f"  comparing with {one_line(self.client.compared, ' ', ' ')}" if self.client.compared else ""

    def draw(self, views: list[JobView]) -> None:
        """Show the list and the chosen job."""
        jobs = self.query_one("#jobs", JobList)
        jobs.show(views)
        if self.client.wanted in {view.name for view in views}:
            jobs.choose(self.client.wanted)
            self.client.wanted = ""
        self._draw_short()

    @on(OptionList.OptionHighlighted)
    def _draw_short(self) -> None:
        view = self.chosen
        self.query_one("#short").display = view is not None
        if view is None:
            return
        named = Content.assemble((one_line(view.name, " ", " "), "bold"), "  ", state_label(view, self._marks))
        # Where there is not room for all, how well the draft is accepted comes first.
        made = (f"  {view.device}  made {when(view.created)}", "")
        long, short = (Content.assemble(named, (f"{words}  {acceptance_words(view)}", "$muted")) for words in made)
        self.line("name", first_fitting(self.size.width - 4, long, short))
        self.draw_work(view, self.size.width - 4)
        self.query_one("#loss", Chart).show(loss_series(view, smooth=True, other=self.beside(view)), "{:.2f}".format)

    def on_resize(self) -> None:
        """Fit the lines to the new width."""
        self.call_after_refresh(self.draw_header)
        self.call_after_refresh(self._draw_short)

    def action_move(self, where: str) -> None:
        """Highlight another job."""
        jobs = self.query_one("#jobs", JobList)
        jobs.action_cursor_down() if where == "down" else jobs.action_cursor_up()

    def action_open(self) -> None:
        """Open the highlighted job."""
        self.with_chosen(lambda view: self._open(view.name))

    def _open(self, name: str) -> None:
        self.app.push_screen(JobScreen(self.client, name, ascii_only=self._ascii))
