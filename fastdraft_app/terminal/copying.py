"""Copying with a toast for how it went."""

from __future__ import annotations

from textual.screen import Screen

from fastdraft_app.terminal import clipboard


def copy(screen: Screen[None], text: str, what: str) -> None:
    """Give ``text`` to every clipboard there is and to a file, and say so; ``what`` names it, such as ``the report``."""
    screen.app.copy_to_clipboard(text)

    def elsewhere() -> None:
        try:
            tools, path = clipboard.copy(text)
        except OSError as error:
            tools, where = [], f"No file could be written ({error})."
        else:
            where = f"Also in {path}"
        ways = " and ".join([*tools, "the terminal's clipboard (OSC 52)"])
        message = f"Copied {what}, {len(text)} characters, by {ways}. {where}"
        screen.app.call_from_thread(screen.notify, message, markup=False, timeout=8)

    screen.run_worker(elsewhere, thread=True, group="copy")
