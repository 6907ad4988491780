"""Textual's driver for a page, which also leaves when its server is gone."""

from __future__ import annotations

from textual import messages
from textual.drivers.web_driver import WebDriver


class PageDriver(WebDriver):
    """The end of the input is the end of the server, however it came about."""

    def run_input_thread(self) -> None:
        """Feed the app until the input ends."""
        super().run_input_thread()
        if not self.exit_event.is_set():
            self._app.post_message(messages.ExitApp())
