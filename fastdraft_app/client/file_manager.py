"""Opening a folder in the file manager of this desktop, where there is one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path


def opener(environment: Mapping[str, str], platform: str = sys.platform) -> str:
    """The program that opens a folder here; empty where no desktop would show it, as over SSH."""
    if platform in ("darwin", "win32"):
        return shutil.which("open" if platform == "darwin" else "explorer") or ""
    if not (environment.get("DISPLAY") or environment.get("WAYLAND_DISPLAY")):
        return ""
    return shutil.which("xdg-open") or ""


def open_folder(folder: Path) -> bool:
    """Show ``folder`` in a window of its own; whether there was a way to."""
    program = opener(os.environ)
    if not program:
        return False
    try:
        subprocess.Popen(
            [program, str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError:
        return False
    return True
