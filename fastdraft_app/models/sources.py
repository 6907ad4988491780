"""Where models come from: the hub, by a download, and folders that are told to the shelf."""

from __future__ import annotations

from pathlib import Path

from textual.binding import Binding, BindingType
from textual.screen import Screen

from fastdraft_app.client.download import Downloader
from fastdraft_app.dialogs.choices import download_source, expanded, folder_source, folders_used
from fastdraft_app.dialogs.confirm import ConfirmScreen
from fastdraft_app.dialogs.picker import PickerScreen
from fastdraft_app.history import read_history, remember_folder
from fastdraft_core import places
from fastdraft_core.formatting import in_bytes, percent

SOURCE_BINDINGS: list[BindingType] = [
    Binding("b", "download", "download", id="models.download", tooltip="bring a model from the hub; while one comes: stop it"),
    Binding("a", "add_folder", "add folder", id="models.add-folder", tooltip="list the models of a folder from now on, or no more"),
]  # fmt: skip


class ModelSources(Screen[None]):
    """A download in a process of its own, and folders that are remembered."""

    def __init__(self) -> None:
        super().__init__()
        self.downloader = Downloader()

    @property
    def wanted(self) -> str:
        """The hub id that the highlighted row means; empty for none."""
        raise NotImplementedError

    def action_read(self) -> None:
        """Look for models again."""
        raise NotImplementedError

    def draw_title(self) -> None:
        """Show how far a download is."""
        raise NotImplementedError

    @property
    def download_words(self) -> str:
        """How far the download is; empty where there is none."""
        told = self.downloader.told
        if not self.downloader.name:
            return ""
        done = (
            f": {in_bytes(told.done)} of {in_bytes(told.total)}, {percent(told.done / told.total)}"
            if told.total
            else ""
        )
        return f"{told.what}{done}; b stops it"

    def action_download(self) -> None:
        """Ask what to download; or, while something comes, whether to stop that."""
        if self.downloader.name:
            sentence = "What has come is kept, and the next download of the same model goes on from there."
            self.app.push_screen(ConfirmScreen(f"Stop {self.downloader.name}?", sentence, "stop"), self._stop)
            return
        picker = PickerScreen(
            "Download a model",
            download_source,
            current=self.wanted,
            hint="a hub id: owner/model",
            empty="type owner/model",
        )
        self.app.push_screen(picker, self._download)

    def _stop(self, agreed: bool | None) -> None:
        if agreed:
            self.downloader.stop()

    def _download(self, name: str | None) -> None:
        if name:
            self.run_worker(self._fetch(name), group="download", exit_on_error=False)

    async def _fetch(self, name: str) -> None:
        try:
            done, told = await self.downloader.run(name, self.draw_title)
        except OSError as error:
            done, told = False, f"The download could not be started ({error})."
        title, severity = ("Downloaded", "information") if done else ("Not downloaded", "error")
        self.app.notify(told, title=title, severity=severity, markup=False, timeout=15)  # type: ignore[arg-type]
        self.action_read()

    def action_add_folder(self) -> None:
        """Ask for a folder."""
        source = folder_source(read_history(places.history()).folders)
        picker = PickerScreen(
            "Add a folder of models", source, hint="path of a folder", empty="there is no such folder"
        )
        self.app.push_screen(picker, self._add_folder)

    def _add_folder(self, typed: str | None) -> None:
        if typed is None:
            return
        folder = str(expanded(typed).absolute())
        added = remember_folder(places.history(), folder)
        told = f"{folder} is looked through from now on." if added else f"{folder} is not looked through any more."
        self.app.notify(told, markup=False)
        self.action_read()


def shelf_folders() -> list[Path]:
    """Folders told by hand, and those that hold models that were used before."""
    return list(dict.fromkeys([*map(Path, read_history(places.history()).folders), *folders_used()]))
