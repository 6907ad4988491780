"""The end of a job is told on every screen: by the bell, a toast, and the desktop where the terminal can."""

from __future__ import annotations

import os

from textual.app import App

from fastdraft_app.client.jobs import JobsClient, JobWatcher
from fastdraft_app.jobs.job_text import acceptance_words
from fastdraft_app.terminal.notification import notification
from fastdraft_core.jobs.view import JobView

WATCH_SECONDS = 2.0
NEXT = "On the jobs screen (4): g tries it live, w sweeps it, x exports it"


class JobNotices:
    """An eye on the jobs, on behalf of the app."""

    def __init__(self, app: App[None], jobs: JobsClient) -> None:
        self.watcher = JobWatcher()
        self._app = app
        self._jobs = jobs

    def start(self) -> None:
        """Begin to look; the first look takes the jobs as they are."""
        self._look_soon()
        self._app.set_interval(WATCH_SECONDS, self._look_soon)

    def _look_soon(self) -> None:
        self._app.run_worker(self._look, thread=True, exclusive=True, group="watch-jobs", exit_on_error=False)

    def _look(self) -> None:
        for view in self.watcher.poll():
            # From this thread to the app's own; nobody waits for it.
            self._app.call_later(self.tell_end, view)

    def tell_end(self, view: JobView) -> None:
        """How it went, by how much its draft is accepted, and what can be done with it now."""
        done = view.state == "finished"
        words = [acceptance_words(view), view.error, NEXT if done and view.model else ""]
        text = ". ".join(word.rstrip(".") for word in words if word)
        title = f"Job {view.name} {view.state}"
        if self._app.current_mode != "jobs":
            self._jobs.wanted = view.name
        self._app.bell()
        self._app.notify(text, title=title, severity="information" if done else "error", timeout=15, markup=False)
        if self._app._driver is not None:
            self._app._driver.write(notification(title, text, os.environ))
