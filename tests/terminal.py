"""A real program in a pseudo-terminal, for tests."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from time import monotonic

ROOT = Path(__file__).parents[1]


class Session:
    """``python -m COMMAND`` in a pseudo-terminal: what it wrote, and how it ended."""

    def __init__(self, *command: str, columns: int = 80, rows: int = 24) -> None:
        import pty

        self.output = b""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.environ.update(TERM="xterm-256color", PYTHONPATH=str(ROOT))
            os.execv(sys.executable, [sys.executable, "-m", *command])
        self.resize(columns, rows)
        os.set_blocking(self.fd, False)

    def resize(self, columns: int, rows: int) -> None:
        """Give the terminal another size; the program is told."""
        import fcntl
        import struct
        import termios

        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def read_until(self, text: bytes, seconds: float = 120.0) -> None:
        """Read until ``text`` was written."""
        end = monotonic() + seconds
        while text not in self.output:
            assert monotonic() < end, self.output[-2000:]
            self.read()

    def ended(self, seconds: float = 60.0) -> int:
        """The exit code, negative for a signal."""
        end = monotonic() + seconds
        while monotonic() < end:
            self.read()
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.read()
                return os.waitstatus_to_exitcode(status)
        raise AssertionError("the program did not end")

    def engines(self) -> list[int]:
        """Processes that the program started."""
        return [int(path.name) for path in Path("/proc").glob("[0-9]*") if _parent(path) == self.pid]

    def read(self) -> None:
        """Take what the program has written."""
        import select

        if self.fd < 0 or not select.select([self.fd], [], [], 0.05)[0]:
            return
        try:
            self.output += os.read(self.fd, 1 << 16)
        except OSError:
            return


def _parent(process: Path) -> int:
    try:
        return int((process / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return -1


def alive(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def gone(pids: list[int], seconds: float = 30.0) -> bool:
    """Whether all of them end in time."""
    end = monotonic() + seconds
    while any(map(alive, pids)):
        if monotonic() > end:
            return False
    return True
