"""What can be done with a job: steer it, try live, sweep or export what it has made, show its folder."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Literal

from textual.binding import Binding, BindingType
from textual.screen import Screen

from fastdraft_app.client.file_manager import open_folder
from fastdraft_app.client.jobs import Action, act
from fastdraft_app.dialogs.confirm import ConfirmScreen
from fastdraft_app.dialogs.exporting import ask_export
from fastdraft_app.messages import SettingsChanged
from fastdraft_app.settings.settings import Changes
from fastdraft_app.terminal.clipboard import copy
from fastdraft_core.errors import FastdraftError
from fastdraft_core.formatting import in_bytes
from fastdraft_core.jobs.view import JobView

Use = Literal["live", "sweep", "export", "open", "copy"]
"""With its newest model: run it live, sweep it, export it; with its folder: open it, copy its path."""

USE_BINDINGS: list[BindingType] = [
    Binding("g", "use('live')", "try it live", id="jobs.live", tooltip="open the job's newest draft in the live screen"),
    Binding("w", "use('sweep')", "sweep it", id="jobs.sweep", tooltip="measure the job's newest draft in the sweep screen"),
    Binding("x", "use('export')", "export it", id="jobs.export", tooltip="write the job's newest model for OpenVINO, llama.cpp or transformers"),
]  # fmt: skip
"""For what a job has made."""
FOLDER_BINDINGS: list[BindingType] = [
    Binding("f", "use('open')", "folder", id="jobs.open-folder", tooltip="open the job's folder; without a desktop, copy its path"),
    Binding("y", "use('copy')", "copy path", id="jobs.copy", tooltip="show the job's folder and copy its path"),
]  # fmt: skip
"""For where it is."""


def use(screen: Screen[None], view: JobView, how: Use) -> None:
    """Do something with the job's model or folder, and say so."""
    if how in ("open", "copy"):
        _show_folder(screen, view, opened=how == "open" and open_folder(view.folder))
    elif view.model is None:
        told = f"Job {view.name} has no checkpoint yet; the first comes minutes after the first step."
        screen.notify(told, severity="warning", markup=False)
    elif how == "export":
        ask_export(screen.app, view.name, str(view.model), target=view.target, then=bool)
    else:
        _go(screen, view, view.model, how)


def _go(screen: Screen[None], view: JobView, model: Path, mode: str) -> None:
    """The live or the sweep screen with the job's pair."""
    if not view.target:
        told = f"Job {view.name} trains a target; choose it with m in the live screen: {model}"
        screen.notify(told, markup=False)
        return
    changes: Changes = {"target": view.target, "draft": str(model)}
    if mode == "sweep":
        changes = {**changes, "sweep_drafts": str(model)}
        screen.notify(f"The next sweep measures the draft of {view.name}; space starts it.", markup=False)
    screen.app.post_message(SettingsChanged(changes))
    screen.app.switch_mode(mode)


def _show_folder(screen: Screen[None], view: JobView, *, opened: bool) -> None:
    words, path = f"{view.folder} ({in_bytes(view.size)})", str(view.folder)
    if not opened:
        screen.app.copy_to_clipboard(path)
        screen.run_worker(lambda: _copy_natively(path), thread=True, group="copy")
    screen.notify(f"{words}, {'opened' if opened else 'copied'}", title="Job folder", markup=False, timeout=8)


def _copy_natively(text: str) -> None:
    with suppress(OSError):
        copy(text)


def steer(screen: Screen[None], action: Action, view: JobView, then: Callable[[bool], object]) -> None:
    """Do ``action`` with the job in a thread and say how it went; ``then`` is told whether it was done."""

    def work() -> None:
        try:
            said, done = act(action, view.folder), True
        except FastdraftError as error:
            said, done = error.message, False
        except OSError as error:
            said, done = f"{view.folder} cannot be written ({error.strerror or error}).", False
        severity: Literal["information", "error"] = "information" if done else "error"
        screen.app.call_from_thread(screen.notify, said, severity=severity, markup=False, timeout=8)
        screen.app.call_from_thread(then, done)

    screen.run_worker(work, thread=True, group="act")


def ask_delete(screen: Screen[None], view: JobView, then: Callable[[bool], object]) -> None:
    """Ask whether to delete the job, and do so; ``then`` is told whether it was done, where it was agreed to."""
    sentence = f"{view.folder} with {in_bytes(view.size)} is deleted, its checkpoints too. This cannot be undone."

    def answered(agreed: bool | None) -> None:
        if agreed:
            steer(screen, "delete", view, then)

    screen.app.push_screen(ConfirmScreen(f"Delete job {view.name}?", sentence, "delete"), answered)
