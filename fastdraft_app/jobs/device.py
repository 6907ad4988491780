"""What the job on screen takes of the machine, asked now and then while it runs and is looked at."""

from __future__ import annotations

from collections.abc import Callable

from textual import on, work
from textual.content import Content
from textual.message import Message

from fastdraft_app.widgets.line import TextLine
from fastdraft_core.formatting import one_line
from fastdraft_core.jobs.view import JobView

ASK_SECONDS = 2.0


class DeviceLine(TextLine):
    """One line, absent where there is nothing to tell."""

    class Asked(Message):
        """What the machine said."""

        def __init__(self, words: str) -> None:
            super().__init__()
            self.words = words

    def __init__(self, ask: Callable[[int | None, str], str], job: Callable[[], JobView | None], *, id: str) -> None:  # noqa: A002  Textual's name
        """``ask`` is given a process, if there is one, and a device, in a thread; ``job`` is the one to ask about now."""
        super().__init__(id=id)
        self._ask = ask
        self._job = job

    def on_mount(self) -> None:
        """Begin to ask."""
        self.set_interval(ASK_SECONDS, self._follow)

    def _follow(self) -> None:
        view = self._job()
        # Nobody sees the line while a question or another screen lies over it.
        if view is not None and self.app.screen is self.screen:
            self._ask_machine(view.pid if view.state == "running" else None, view.device)

    @work(thread=True, exclusive=True, group="device")
    def _ask_machine(self, pid: int | None, device: str) -> None:
        self.post_message(self.Asked(self._ask(pid, device)))

    @on(Asked)
    def _show_use(self, event: Asked) -> None:
        self.show(Content.styled(one_line(event.words, " ", " "), "$muted"))
        self.display = bool(event.words)
