"""What the job on screen takes of the machine, asked now and then while it runs and is looked at."""

from __future__ import annotations

from textual import events, on, work
from textual.content import Content
from textual.message import Message
from textual.timer import Timer

from fastdraft_app.client.device_use import DeviceUse
from fastdraft_app.jobs.base import JobsBase
from fastdraft_app.widgets.line import TextLine
from fastdraft_core.formatting import one_line

ASK_SECONDS = 2.0


class JobDevice(JobsBase):
    """One line, absent where there is nothing to tell."""

    class Asked(Message):
        """What the machine said."""

        def __init__(self, words: str) -> None:
            super().__init__()
            self.words = words

    _use: DeviceUse
    _asking: Timer

    @on(events.Mount)
    def _begin_to_ask(self) -> None:
        self._use = DeviceUse()
        self._asking = self.set_interval(ASK_SECONDS, self._ask)

    @on(events.ScreenSuspend)
    def _ask_no_more(self) -> None:
        self._asking.pause()

    @on(events.ScreenResume)
    def _ask_again(self) -> None:
        self._asking.resume()

    def _ask(self) -> None:
        view = self.chosen
        if not self.frozen and view is not None:
            self._ask_machine(view.pid if view.state == "running" else None, view.device)

    @work(thread=True, exclusive=True, group="device")
    def _ask_machine(self, pid: int | None, device: str) -> None:
        self.post_message(self.Asked(self._use.poll(pid, device)))

    @on(Asked)
    def _show_use(self, event: Asked) -> None:
        line = self.query_one("#device", TextLine)
        line.show(Content.styled(one_line(event.words, " ", " "), "$muted"))
        line.display = bool(event.words)
