"""Where models come from: the hub, by a download, and folders that are told to the shelf."""

from __future__ import annotations

from collections.abc import Callable

from textual.binding import Binding, BindingType
from textual.screen import Screen

from fastdraft_app.client.command import Outcome
from fastdraft_app.client.download import Downloader
from fastdraft_app.dialogs.choices import download_source, folder_source
from fastdraft_app.dialogs.confirm import ConfirmScreen
from fastdraft_app.dialogs.picker import PickerScreen
from fastdraft_core import places
from fastdraft_core.history import read_history, remember_folder
from fastdraft_core.models.catalog import expanded

SOURCE_BINDINGS: list[BindingType] = [
    Binding("b", "download", "download", id="models.download", tooltip="bring a model from the hub; while one comes: stop it"),
    Binding("a", "add_folder", "add folder", id="models.add-folder", tooltip="list the models of a folder from now on, or no more"),
]  # fmt: skip


class Downloads:
    """One download at a time, in a process of its own, asked for and told of on a screen."""

    def __init__(self, screen: Screen[None], *, changed: Callable[[], None], ended: Callable[[], None]) -> None:
        """``changed`` is called when there is news of a download, ``ended`` when it has come or failed."""
        self._screen = screen
        self._changed = changed
        self._ended = ended
        self._downloader = Downloader()

    @property
    def words(self) -> str:
        """How far the download is; empty where there is none."""
        return f"{self._downloader.words}; b stops it" if self._downloader.name else ""

    def ask(self, wanted: str) -> None:
        """Ask what to download, ``wanted`` before others; or, while something comes, whether to stop that."""
        if self._downloader.name:
            sentence = "What has come is kept, and the next download of the same model goes on from there."
            self._screen.app.push_screen(ConfirmScreen(f"Stop {self._downloader.name}?", sentence, "stop"), self._stop)
            return
        picker = PickerScreen(
            "Download a model", download_source, current=wanted, hint="a hub id: owner/model", empty="type owner/model"
        )
        self._screen.app.push_screen(picker, self.begin)

    def _stop(self, agreed: bool | None) -> None:
        if agreed:
            self._downloader.stop()

    def begin(self, name: str | None) -> None:
        """Download the model ``name``, if there is one."""
        if name:
            self._screen.run_worker(self._fetch(name), group="download", exit_on_error=False)

    async def _fetch(self, name: str) -> None:
        try:
            outcome = await self._downloader.run(name, self._changed)
        except OSError as error:
            outcome = Outcome(False, f"The download could not be started ({error}).")
        title = "Downloaded" if outcome.done else "Not downloaded"
        self._screen.app.notify(outcome.words, title=title, severity=outcome.severity, markup=False, timeout=15)
        self._ended()


def ask_folder(screen: Screen[None], then: Callable[[], None]) -> None:
    """Ask for a folder of models that is listed from now on, or no more; ``then`` is called when that is so."""

    def take(typed: str | None) -> None:
        if typed is None:
            return
        folder = str(expanded(typed).absolute())
        added = remember_folder(places.history(), folder)
        told = f"{folder} is looked through from now on." if added else f"{folder} is not looked through any more."
        screen.app.notify(told, markup=False)
        then()

    source = folder_source(read_history(places.history()).folders)
    picker = PickerScreen("Add a folder of models", source, hint="path of a folder", empty="there is no such folder")
    screen.app.push_screen(picker, take)
