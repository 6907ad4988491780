"""The jobs as rows: state, stages, progress, time left."""

from __future__ import annotations

from rich.cells import cell_len
from textual import events
from textual.content import Content
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from fastdraft_app.theme.palette import Marks, marks
from fastdraft_app.widgets.bars import bar
from fastdraft_core.formatting import elide, in_bytes, one_line, percent
from fastdraft_core.jobs.describe import state_words
from fastdraft_core.jobs.view import JobView

STATE_COLOURS = {
    "running": "$primary",
    "queued": "$foreground",
    "paused": "$warning",
    "finished": "$success",
    "failed": "$error",
    "lost": "$error",
    "cancelled": "$muted",
}
_STATE_WIDTH = 24
_FACTS = (("device", 8), ("time left", 11), ("size", 10))
"""What stands at the right, with its width; what does not fit is left out from the last one on."""


def state_mark(state: str, mark: Marks) -> str:
    """The sign of a state, so that it needs no colour."""
    signs = {
        "running": mark.play,
        "queued": mark.more[:1],
        "paused": mark.pause,
        "finished": mark.done,
        "cancelled": mark.stop,
    }
    return signs.get(state, mark.differs)


def state_label(view: JobView, mark: Marks, width: int = 0) -> Content:
    """The sign and the word of a job's state, in its colour; in at most ``width`` cells where that is given."""
    words = f"{state_mark(view.state, mark)} {one_line(state_words(view), ' ', ' ')}"
    return Content.styled(elide(words, width, mark.more) if width else words, STATE_COLOURS[view.state])


class JobList(OptionList):
    """Rows that are painted only when they changed; the highlighted job stays so when rows come and go."""

    DEFAULT_CSS = """
    JobList {
        height: auto; border: none; padding: 0 1; background: $background;
        text-wrap: nowrap; scrollbar-size-vertical: 1;
        &:focus { border: none; background-tint: $foreground 0%; }
        & > .option-list--option-highlighted, &:focus > .option-list--option-highlighted {
            background: $primary 25%; color: $foreground; text-style: bold;
        }
    }
    """

    def __init__(self, *, ascii_only: bool, id: str) -> None:  # noqa: A002  Textual's name
        super().__init__(id=id, markup=False)
        self._marks = marks(ascii_only)
        self._views: list[JobView] = []

    @property
    def chosen(self) -> JobView | None:
        """The highlighted job."""
        place = self.highlighted
        return self._views[place] if place is not None and place < len(self._views) else None

    def show(self, views: list[JobView]) -> None:
        """Show these jobs, in this order."""
        kept = self.chosen.name if self.chosen else ""
        old, self._views = self._views, views
        if [view.name for view in old] == [view.name for view in views]:
            for place, (before, now) in enumerate(zip(old, views, strict=True)):
                if before is not now:
                    self.replace_option_prompt_at_index(place, self._row(now))
            return
        self.clear_options()
        self.add_options([Option(self._row(view), id=view.name) for view in views])
        names = [view.name for view in views]
        if names:
            self.highlighted = names.index(kept) if kept in names else 0

    def choose(self, name: str) -> None:
        """Highlight the job called ``name``, where it is there."""
        for place, view in enumerate(self._views):
            if view.name == name:
                self.highlighted = place

    def on_resize(self, event: events.Resize) -> None:
        """Fit the rows to the new width."""
        del event
        for place, view in enumerate(self._views):
            self.replace_option_prompt_at_index(place, self._row(view))

    def _row(self, view: JobView) -> Content:
        return row(view, max(self.size.width - 3, 40), self._marks)


def heading(width: int) -> Content:
    """The names of the columns, over rows of the same width."""
    name, bar, facts = _columns(width)
    parts = ["job".ljust(name), "state".ljust(_STATE_WIDTH), "stage and progress".ljust(bar)]
    return Content.styled(" ".join([*parts, *(title.rjust(cells) for title, cells in facts)]), "$muted")


def row(view: JobView, width: int, mark: Marks) -> Content:
    """One job on one line of ``width`` cells."""
    name_width, bar_width, facts = _columns(width)
    name = elide(one_line(view.name, " ", " "), name_width, mark.more)
    first = [_padded(Content(name), name_width), _padded(state_label(view, mark, _STATE_WIDTH), _STATE_WIDTH)]
    if view.state == "queued":
        # It has neither progress nor time left, and names its device: the reason takes their room.
        room = width - name_width - _STATE_WIDTH - 2
        words = elide(one_line(view.doing or "starts soon", " ", " "), room, mark.more)
        return Content(" ").join([*first, Content.styled(words, "$muted")])
    told = {
        "device": view.device,
        "time left": view.left.short if view.left else "",
        "size": in_bytes(view.size),
    }
    right = [elide(told[title], cells, mark.more).rjust(cells) for title, cells in facts]
    return Content(" ").join([*first, _padded(_progress(view, bar_width, mark), bar_width), *map(Content, right)])


def _progress(view: JobView, width: int, mark: Marks) -> Content:
    """How far the work beside training is; else the stage heard of last, and all together."""
    name, done = (view.aside.short, view.aside.share) if view.aside else (view.stage.upper(), view.share)
    name = f"{elide(name, max(width - 10, 3), ''):<2} "
    cells = max(width - len(name) - 6, 3)
    return Content.assemble(name, bar([(done, "$primary")], cells, mark), f"{percent(done):>6}")


def _columns(width: int) -> tuple[int, int, list[tuple[str, int]]]:
    """Cells of the name and of the progress, and the facts that fit."""
    facts = list(_FACTS)
    while facts and width - _STATE_WIDTH - sum(cells + 1 for _, cells in facts) < 34:
        facts.pop()
    room = width - _STATE_WIDTH - 2 - sum(cells + 1 for _, cells in facts)
    name = max(min(room // 2, 32), 8)
    return name, room - name, facts


def _padded(content: Content, width: int) -> Content:
    return Content.assemble(content.truncate(width, ellipsis=True), " " * max(width - cell_len(content.plain), 0))
