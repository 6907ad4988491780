"""smollm2 on its way to this machine, told in a line of the live screen; the bundled pair runs meanwhile."""

from __future__ import annotations

from textual.message import Message

from fastdraft_app.client.command import Outcome
from fastdraft_app.client.download import Downloader
from fastdraft_app.widgets.banner import Banner
from fastdraft_core.models.catalog import SMOLLM2, SMOLLM2_HUB, is_here


class Arrival(Banner):
    """Brings it by ``fastdraft download``, shown only while that goes on or after it failed."""

    class Arrived(Message):
        """It is here now."""

    def __init__(self, *, begin: bool, id: str) -> None:  # noqa: A002  Textual's name
        """With ``begin`` it is brought at once where it is not here."""
        super().__init__(id=id)
        self._begin = begin
        self._downloader = Downloader()

    def on_mount(self) -> None:
        """Begin, if that was asked for."""
        if self._begin and self.wanted:
            self.bring()

    def on_unmount(self) -> None:
        """End the process; what has come whole is kept."""
        self._downloader.stop()

    @property
    def wanted(self) -> bool:
        """Whether it is neither here nor on its way."""
        return not self._downloader.name and not is_here(SMOLLM2)

    def bring(self) -> None:
        """Bring it, or try again."""
        self.run_worker(self._bring(), group="arrival", exclusive=True, exit_on_error=False)

    async def _bring(self) -> None:
        self.show("", hint=f"{SMOLLM2} ({SMOLLM2_HUB}) is being brought; what runs here goes on meanwhile.")
        try:
            outcome = await self._downloader.run(SMOLLM2, self._tell)
        except OSError as error:
            outcome = Outcome(False, f"The download could not be started ({error}).")
        if outcome.done:
            self.show("")
            self.post_message(self.Arrived())
        else:
            self.show("", f"{SMOLLM2} is not here, so the bundled pair stays; b tries again. {outcome.words}")

    def _tell(self) -> None:
        self.show("", hint=f"{self._downloader.words}; what runs here goes on meanwhile.")
