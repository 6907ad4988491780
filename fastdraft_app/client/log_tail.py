"""The end of a log file, read on from where the last look stopped."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

FIRST_BYTES = 256 << 10
"""So much of its end is read at first, or after so much has come at once."""


@dataclass(frozen=True)
class LogLines:
    """Whole lines that were added; ``anew`` where they take the place of all before."""

    lines: list[str]
    anew: bool


class LogTail:
    """Follows one file; one that was cut short or replaced is read anew."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = (0, 0)
        self._offset = 0

    def read(self) -> LogLines:
        """The lines since the last call; none where there is no such file."""
        try:
            with self._path.open("rb") as file:
                status = self._path.stat()
                known = (status.st_dev, status.st_ino) == self._file
                self._file = (status.st_dev, status.st_ino)
                anew = not known or not 0 <= status.st_size - self._offset <= FIRST_BYTES
                start = max(0, status.st_size - FIRST_BYTES) if anew else self._offset
                file.seek(start)
                data = file.read()
        except OSError:
            return LogLines([], anew=False)
        whole = data.rfind(b"\n") + 1
        self._offset = start + whole
        lines = data[:whole].decode("utf-8", errors="replace").splitlines()
        # A start in the middle is in the middle of a line.
        return LogLines(lines[1:] if anew and start else lines, anew)
