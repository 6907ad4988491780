"""What can be done with what a job has made: try it live, sweep it, export it; and with its folder."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from textual import work
from textual.binding import Binding, BindingType
from textual.screen import Screen

from fastdraft_app.client.convert import output_folder
from fastdraft_app.client.desktop import open_folder
from fastdraft_app.dialogs.exporting import export
from fastdraft_app.messages import SettingsChanged
from fastdraft_app.settings.settings import Changes
from fastdraft_app.terminal.clipboard import copy
from fastdraft_core.formatting import in_bytes
from fastdraft_core.jobs.view import JobView

USE_BINDINGS: list[BindingType] = [
    Binding("g", "use('live')", "try it live", id="jobs.live", tooltip="open the job's newest draft in the live screen"),
    Binding("w", "use('sweep')", "sweep it", id="jobs.sweep", tooltip="measure the job's newest draft in the sweep screen"),
    Binding("x", "use('export')", "export it", id="jobs.export", tooltip="write an int8 OpenVINO IR of the job's newest model"),
]  # fmt: skip
"""For what a job has made."""
FOLDER_BINDINGS: list[BindingType] = [
    Binding("f", "use('open')", "folder", id="jobs.open-folder", tooltip="open the job's folder; without a desktop, copy its path"),
    Binding("y", "use('copy')", "copy path", id="jobs.copy", tooltip="show the job's folder and copy its path"),
]  # fmt: skip
"""For where it is."""


class JobUses(Screen[None]):
    """The keys for the job that ``chosen`` names."""

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

    def action_use(self, how: str) -> None:
        """Do something with the chosen job's model or folder."""
        self.with_chosen(lambda view: self._do_with(view, how))

    def _do_with(self, view: JobView, how: str) -> None:
        if how in ("open", "copy"):
            self._show_folder(view, opened=how == "open" and open_folder(view.folder))
        elif view.model is None:
            told = f"Job {view.name} has no checkpoint yet; the first comes minutes after the first step."
            self.notify(told, severity="warning", markup=False)
        elif how == "export":
            export(self.app, view.name, str(view.model), output_folder(view.name), target=view.target, then=bool)
        else:
            self._go(view, view.model, how)

    def _go(self, view: JobView, model: Path, mode: str) -> None:
        """The live or the sweep screen with the job's pair."""
        if not view.target:
            told = f"Job {view.name} trains a target; choose it with m in the live screen: {model}"
            self.notify(told, markup=False)
            return
        changes: Changes = {"target": view.target, "draft": str(model)}
        if mode == "sweep":
            changes = {**changes, "sweep_drafts": str(model)}
            self.notify(f"The next sweep measures the draft of {view.name}; space starts it.", markup=False)
        self.app.post_message(SettingsChanged(changes))
        self.app.switch_mode(mode)

    def _show_folder(self, view: JobView, *, opened: bool) -> None:
        words = f"{view.folder} ({in_bytes(view.size)})"
        if not opened:
            self.app.copy_to_clipboard(str(view.folder))
            self._copy_natively(str(view.folder))
        self.notify(f"{words}, {'opened' if opened else 'copied'}", title="Job folder", markup=False, timeout=8)

    @work(thread=True, group="copy")
    def _copy_natively(self, text: str) -> None:
        with suppress(OSError):
            copy(text)
