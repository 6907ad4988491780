"""What the list of jobs and the screen of one job share: following the folders, and what can be done with a job."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

from textual import events, on, work
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message
from textual.screen import Screen
from textual.timer import Timer
from textual.worker import get_current_worker

from fastdraft_app.client.jobs import Action, JobsClient
from fastdraft_app.jobs.job_text import figures, progress_words, stage_bar
from fastdraft_app.jobs.uses import FOLDER_BINDINGS, Use, ask_delete, steer, use
from fastdraft_app.theme.palette import marks
from fastdraft_app.widgets.banner import Banner
from fastdraft_app.widgets.line import TextLine
from fastdraft_core.formatting import one_line
from fastdraft_core.jobs.view import JobView

POLL_SECONDS = 1.0

JOB_BINDINGS: list[BindingType] = [
    Binding("P", "act('pause')", "pause", id="jobs.pause", tooltip="write a checkpoint and leave; memory and cores are free"),
    Binding("u", "act('resume')", "resume", id="jobs.resume", tooltip="go on with a paused or lost job, at its last checkpoint"),
    Binding("X", "act('cancel')", "cancel", id="jobs.cancel", tooltip="end a job, its folder stays; again: kill its process"),
    Binding("r", "act('retry')", "retry", id="jobs.retry", tooltip="take a failed, cancelled or lost job up again"),
    Binding("D", "delete", "delete", id="jobs.delete", tooltip="delete a job's folder with its checkpoints; asks first"),
    Binding("c", "compare", "compare", id="jobs.compare", tooltip="mark a job; the charts of any other job then show both"),
    *FOLDER_BINDINGS,
    Binding("space", "freeze", "freeze", id="jobs.freeze", show=False, tooltip="hold the view as it is, or let it go on"),
]  # fmt: skip
"""What can be done with a job; each screen puts its own keys before these."""


class JobsBase(Screen[None]):
    """Polls in a thread while it is shown; draws only what changed."""

    AUTO_FOCUS = None
    HORIZONTAL_BREAKPOINTS = [(0, "-slim"), (80, "-narrow"), (120, "-wide")]
    VERTICAL_BREAKPOINTS = [(0, "-short"), (24, "-normal"), (36, "-tall")]

    @dataclass
    class Polled(Message):
        """The jobs as they were read."""

        views: list[JobView]
        problem: str = ""

    def __init__(self, client: JobsClient, *, ascii_only: bool) -> None:
        super().__init__()
        self.client = client
        self._ascii = ascii_only
        self._marks = marks(ascii_only)
        self._views: list[JobView] = []
        self._problem = ""
        self._frozen_since: float | None = None
        self._clock: Timer | None = None
        self._polling = False

    # --- following ----------------------------------------------------------------------------

    @on(events.Mount)
    def _start_clock(self) -> None:
        self._clock = self.set_interval(POLL_SECONDS, self._beat)
        self._poll()

    @on(events.ScreenSuspend)
    def _sleep(self) -> None:
        if self._clock is not None:
            self._clock.pause()

    @on(events.ScreenResume)
    def _wake(self) -> None:
        if self._clock is not None:
            self._clock.resume()
            self._beat()

    def _beat(self) -> None:
        if self._frozen_since is None:
            self._poll()
        else:
            self.draw_header()

    def _poll(self) -> None:
        if not self._polling:
            self._polling = True
            self._read()

    @work(thread=True, group="poll")
    def _read(self) -> None:
        problem, views = "", self._views
        try:
            views = self.client.poll()
        except OSError as error:
            problem = f"The jobs cannot be read ({error.strerror or error})."
        if not get_current_worker().is_cancelled:
            self.post_message(self.Polled(views, problem))

    @on(Polled)
    def _take(self, event: Polled) -> None:
        self._polling = False
        if self._frozen_since is not None:
            # It was under way when the view was frozen; the next one will tell the same and more.
            return
        first = not self._views
        changed = len(event.views) != len(self._views) or any(
            new is not old for new, old in zip(event.views, self._views, strict=False)
        )
        self._views, self._problem = event.views, event.problem
        self.draw_header()
        if changed or first:
            self.draw(event.views)

    def draw_header(self) -> None:
        """Show what is over the jobs, and how old it is."""
        raise NotImplementedError

    def draw(self, views: list[JobView]) -> None:
        """Show the jobs."""
        raise NotImplementedError

    def line(self, name: str, content: Content) -> None:
        """Show ``content`` on the line of that name."""
        self.query_one(f"#{name}", TextLine).show(content)

    def draw_work(self, view: JobView, width: int) -> None:
        """What is wrong with the job, its stages, how far it is, and its newest step, in ``width`` cells."""
        self.query_one("#banner", Banner).show(view.error, view.problem)
        self.line("stages", stage_bar(view, max(width, 40), self._marks))
        self.line("progress", Content(one_line(progress_words(view), " ", " ")))
        self.line("figures", figures(view, width))

    @property
    def age(self) -> str:
        """That the view stands still, and since when; else nothing."""
        if self._frozen_since is None:
            return ""
        return f"frozen {monotonic() - self._frozen_since:.0f} s ago, space goes on"

    @property
    def frozen(self) -> bool:
        """Whether the view stands still."""
        return self._frozen_since is not None

    def action_freeze(self) -> None:
        """Hold the view, or let it go on."""
        self._frozen_since = monotonic() if self._frozen_since is None else None
        self._beat()

    # --- comparing ----------------------------------------------------------------------------

    def beside(self, view: JobView) -> JobView | None:
        """The marked job, where that is another one than ``view``."""
        return next((one for one in self._views if one.name == self.client.compared != view.name), None)

    def action_compare(self) -> None:
        """Mark the chosen job, or take the mark away."""
        self.with_chosen(self._compare)

    def _compare(self, view: JobView) -> None:
        marked = "" if self.client.compared == view.name or self._comparing(view) else view.name
        self.client.compared = marked
        told = f"{marked} is marked: the charts of any other job show both; c again ends it."
        self.notify(told if marked else "No job is compared any more.", markup=False)
        self.draw(self._views)
        self.draw_header()

    def _comparing(self, view: JobView) -> bool:
        """Whether c ends a comparison here, where another job is the marked one."""
        del view
        return False

    # --- acting -------------------------------------------------------------------------------

    @property
    def chosen(self) -> JobView | None:
        """The job that the keys mean."""
        raise NotImplementedError

    def with_chosen(self, do: Callable[[JobView], object]) -> None:
        """Do something with the chosen job; where there is none, say so."""
        if self.chosen is None:
            self.notify("There is no job here. Press 3 to train one.", severity="warning")
        else:
            do(self.chosen)

    def action_use(self, how: Use) -> None:
        """Do something with the chosen job's model or folder."""
        self.with_chosen(lambda view: use(self, view, how))

    def action_act(self, what: Action) -> None:
        """Pause, resume, cancel or retry the chosen job."""
        self.with_chosen(lambda view: steer(self, what, view, lambda _: self.look_again()))

    def action_delete(self) -> None:
        """Ask, then delete the chosen job."""
        self.with_chosen(lambda view: ask_delete(self, view, self.deleted))

    def deleted(self, done: bool) -> None:
        """The deletion was ``done`` or refused."""
        del done
        self.look_again()

    def look_again(self) -> None:
        """Something was done: look at the jobs at once, also where the view was frozen."""
        self._frozen_since = None
        self._poll()
