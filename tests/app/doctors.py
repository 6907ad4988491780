"""A stand-in for ``fastdraft doctor --json`` whose words and pace a test decides."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from fastdraft_core.events import Check, encode

TWIN = """
import os, sys, time
from pathlib import Path
folder = Path(os.environ["DOCTOR"])
with (folder / "calls").open("a") as calls:
    calls.write(f"{os.getpid()} {' '.join(sys.argv[1:])}\\n")
for line in (folder / "says").read_text(encoding="utf-8").splitlines():
    if line.startswith("WAIT"):
        while not (folder / "go").exists():
            time.sleep(0.02)
    elif line.startswith("END"):
        sys.exit(line[4:])
    else:
        sys.stdout.buffer.write(line.encode() + b"\\n")
        sys.stdout.buffer.flush()
"""

FINE = Check(name="fastdraft", value="1.0", group="versions")
ABSENT = Check(
    name="openvino", value="absent", status="warn", advice="Install it: pip install openvino", group="versions"
)
BROKEN = Check(
    name="bundled pair",
    value="missing or incomplete in /somewhere/demo: drafts/S",
    status="fail",
    advice="Install fastdraft again; until then name a target and a draft of your own.",
    group="bundled pair",
)
CPU = Check(name="device cpu", value="A Processor, 8.0 GiB, bfloat16", group="devices")


class StandIn:
    """What the stand-in is told to say, and how it was called."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        (folder / "calls").touch()
        self.says([FINE])

    def says(self, checks: Sequence[Check | str], *, whole: bool = True) -> None:
        """Say these; ``WAIT`` waits for ``go``, ``END words`` ends with them. A ``whole`` array is closed at its end."""
        lines, lead = [], "["
        for check in checks:
            lines.append(check if isinstance(check, str) else lead + encode(check).decode().strip())
            lead = lead if isinstance(check, str) else ","
        (self.folder / "go").unlink(missing_ok=True)
        (self.folder / "says").write_text("\n".join([*lines, *(["]"] if whole else [])]), encoding="utf-8")

    def go(self) -> None:
        """Go on after ``WAIT``."""
        (self.folder / "go").touch()

    @property
    def calls(self) -> list[tuple[int, str]]:
        """Process ids and arguments."""
        found = [line.split(" ", 1) for line in (self.folder / "calls").read_text().splitlines()]
        return [(int(pid), arguments) for pid, arguments in found]


def alive(pid: int) -> bool:
    """Whether there is such a process."""
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True
