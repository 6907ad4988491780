"""The log of a job, with those lines alone that hold what is searched for."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from textual.widgets import Log

from fastdraft_core.formatting import one_line

MOST_LINES = 10_000
EMPTY = "log.txt is empty, or not there yet"


class LogPane(Log):
    """Follows the end unless one has scrolled up; only new lines are added."""

    DEFAULT_CSS = """
    LogPane {
        border: round $border-blurred; border-title-style: bold; border-title-color: $foreground; border-subtitle-color: $muted;
        background: $background; scrollbar-size: 1 1; padding: 0 1;
        &:focus { border: round $primary; }
    }
    """

    def __init__(self, *, id: str) -> None:  # noqa: A002  Textual's name
        super().__init__(id=id, highlight=False, max_lines=MOST_LINES)
        self.border_title = "log"
        self._all: deque[str] = deque(maxlen=MOST_LINES)
        self._searched = ""
        self._found = 0

    def add(self, lines: Sequence[str], *, anew: bool = False) -> None:
        """The log goes on with these lines, or consists of them from now on."""
        clean = [one_line(line, " ", "    ") for line in lines]
        if anew or not self._all:
            self._all.clear()
            self._all.extend(clean)
            self._fill()
        elif clean:
            self._all.extend(clean)
            self._write(clean)

    def search(self, text: str) -> None:
        """Show only lines with ``text``, in any case."""
        self._searched = text.strip().lower()
        self._fill()

    def _fill(self) -> None:
        self.clear()
        self._found = 0
        self._write(list(self._all) or [EMPTY])

    def _write(self, lines: Sequence[str]) -> None:
        wanted = [line for line in lines if self._searched in line.lower()]
        self._found += len(wanted)
        self.write_lines(wanted)
        found = f" {self._found} lines with '{one_line(self._searched, ' ', ' ')}' " if self._searched else ""
        self.border_subtitle = found.replace("[", "\\[")
