"""What all dialogs have in common."""

from __future__ import annotations

from textual.await_complete import AwaitComplete
from textual.screen import ModalScreen, ScreenResultType


class Dialog(ModalScreen[ScreenResultType]):
    """A screen over another one that answers once."""

    def dismiss(self, result: ScreenResultType | None = None) -> AwaitComplete:
        """Answer and go.

        Nothing happens unless this is the uppermost screen: a second enter of quick keys, under way when the dialog has
        left, must not close what lay below, and no look that has finished the dialog that lies above.
        """
        return super().dismiss(result) if self.app.screen is self else AwaitComplete()
