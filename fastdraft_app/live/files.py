"""The keys that leave files behind or take them up: export, recordings."""

from __future__ import annotations

from pathlib import Path

from fastdraft_app.dialogs.choices import recording_source
from fastdraft_app.dialogs.exporting import save
from fastdraft_app.dialogs.picker import PickerScreen
from fastdraft_app.live.base import LiveBase
from fastdraft_app.live.export import EXPORTS, export
from fastdraft_app.live.playback import Playback
from fastdraft_app.live.session import Phase
from fastdraft_core.errors import FastdraftError
from fastdraft_core.events import Cancel
from fastdraft_core.recordings import Recorded, read_recording


class FileActions(LiveBase):
    """Export what is shown; show a recording."""

    def action_recordings(self) -> None:
        """Choose a recording and play it here."""
        picker = PickerScreen(
            "Recordings",
            recording_source(),
            hint="part of a prompt or a model, or a path",
            empty="there is no such recording",
        )
        self.app.push_screen(picker, self._play)

    def _play(self, path: str | None) -> None:
        if path is None:
            return
        try:
            recorded = read_recording(Path(path).expanduser())
        except FastdraftError as error:
            self.notify(error.message, severity="error", markup=False, timeout=10)
            return
        if self.live.phase is Phase.TIMING:
            # Drawing at full pace would disturb what is being timed.
            self._engine.send(Cancel())
            self.live.cancel()
        self.playback = Playback(recorded, self.settings)
        self._tick()

    def action_export(self) -> None:
        """Ask for a format and write the file."""
        from fastdraft_app.dialogs.formats import ExportScreen

        if self._hindered("export"):
            return
        self.app.push_screen(ExportScreen(EXPORTS), self._export)

    def hindrance(self, action: str) -> str:
        """Nothing can be exported before there is a run."""
        if action == "export" and self._shown_recording() is None:
            return "There is nothing to export yet. Press r to run."
        return super().hindrance(action)

    def _shown_recording(self) -> Recorded | None:
        if self.playback is not None:
            return self.playback.recorded
        return self._engine.recorder.recorded if self._engine.recorder is not None else None

    def _export(self, kind: str | None) -> None:
        recorded = self._shown_recording()
        if kind is None or recorded is None:
            return
        # The picture is of this screen, so it waits until the dialog is gone.
        self.call_after_refresh(self._write, kind, recorded)

    def _write(self, kind: str, recorded: Recorded) -> None:
        save(self, lambda: export(kind, recorded, self.settings, self.app.export_screenshot))
