"""The end of a job is told on every screen: by the bell, a toast, and the desktop where the terminal can."""

from __future__ import annotations

import os
from dataclasses import dataclass

from textual import on, work
from textual.message import Message

from fastdraft_app.actions import AppActions
from fastdraft_app.client.jobs import JobsClient
from fastdraft_app.client.watch import JobWatcher
from fastdraft_app.jobs.job_text import acceptance_words
from fastdraft_app.settings.preferences import Preferences
from fastdraft_app.terminal.desktop import notification
from fastdraft_core.jobs.view import JobView

WATCH_SECONDS = 2.0
NEXT = "On the jobs screen (4): g tries it live, w sweeps it, x exports it"


@dataclass
class JobOver(Message):
    """A job has ended by itself."""

    view: JobView


class JobNotices(AppActions):
    """The app with an eye on its jobs."""

    def __init__(self, preferences: Preferences) -> None:
        super().__init__(preferences)
        self.jobs = JobsClient()
        self._watcher = JobWatcher()

    def watch_jobs(self) -> None:
        """Begin; the first look takes the jobs as they are."""
        self._look()
        self.set_interval(WATCH_SECONDS, self._look)

    @work(thread=True, exclusive=True, group="watch-jobs", exit_on_error=False)
    def _look(self) -> None:
        for view in self._watcher.poll():
            self.post_message(JobOver(view))

    @on(JobOver)
    def tell_end(self, event: JobOver) -> None:
        """How it went, by how much its draft is accepted, and what can be done with it now."""
        view = event.view
        done = view.state == "finished"
        words = [acceptance_words(view), view.error, NEXT if done and view.model else ""]
        text = ". ".join(word.rstrip(".") for word in words if word)
        title = f"Job {view.name} {view.state}"
        if self.current_mode != "jobs":
            self.jobs.wanted = view.name
        self.bell()
        self.notify(text, title=title, severity="information" if done else "error", timeout=15, markup=False)
        if self._driver is not None:
            self._driver.write(notification(title, text, os.environ))
