"""What this program asks of the terminal's input beyond Textual 8.2.8."""

from __future__ import annotations

import codecs
import sys


def tolerate_old_mouse_bytes() -> None:
    """Keep the input thread alive when bytes arrive that are not UTF-8.

    After a tmux re-attach a terminal may report the mouse in the X10 form, ``ESC [ M`` and three
    raw bytes. Textual decodes strictly and its input thread dies of it (textual #6668).
    """
    if sys.platform == "win32":
        return
    from textual.drivers import linux_driver

    setattr(linux_driver, "getincrementaldecoder", _tolerant_decoder)  # noqa: B010  its name is not exported


def _tolerant_decoder(encoding: str) -> type[codecs.IncrementalDecoder]:
    strict = codecs.getincrementaldecoder(encoding)

    class Tolerant(strict):  # type: ignore[misc, valid-type]
        """The decoder of ``encoding`` that replaces what it cannot read."""

        def __init__(self) -> None:
            super().__init__(errors="replace")

    return Tolerant
