"""Copying by every way there is, since none works everywhere.

A native tool serves this desktop, ``tmux load-buffer -w`` a tmux and the terminal around it, OSC 52 the
terminal at the far end of an SSH connection. A file is always written: it works where nothing else does.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from fastdraft_core import places
from fastdraft_core.files import write_atomic

PATIENCE_SECONDS = 2.0

_WAYLAND = ("wl-copy",)
_X11 = (("xclip", "-selection", "clipboard"), ("xsel", "--clipboard", "--input"))
_TMUX = ("tmux", "load-buffer", "-w", "-")


def commands(environment: Mapping[str, str], platform: str = sys.platform) -> list[tuple[str, ...]]:
    """The programs that take a text on standard input here, the native tool first."""
    found = [command for command in _native(environment, platform) if shutil.which(command[0])][:1]
    if environment.get("TMUX") and shutil.which(_TMUX[0]):
        found.append(_TMUX)
    return found


def _native(environment: Mapping[str, str], platform: str) -> list[tuple[str, ...]]:
    if platform == "darwin":
        return [("pbcopy",)]
    if platform == "win32" or "WSL_DISTRO_NAME" in environment:
        return [("clip.exe",)]
    wayland = [_WAYLAND] if environment.get("WAYLAND_DISPLAY") else []
    return [*wayland, *(_X11 if environment.get("DISPLAY") else ())]


def copy(text: str) -> tuple[list[str], Path]:
    """Give ``text`` to every program here and write it to a file; returns who took it and the file.

    Raises:
        OSError: the file cannot be written.
    """
    path = places.log_file("app").parent / "copied.txt"
    write_atomic(path, text.encode())
    return [command[0] for command in commands(os.environ) if _give(command, text)], path


def _give(command: tuple[str, ...], text: str) -> bool:
    try:
        # Its output would keep us waiting: xclip stays to serve the clipboard.
        done = subprocess.run(
            command,
            # Windows takes bytes for its old code page, unless they begin with a mark of UTF-16.
            input=text.encode("utf-16" if command[0] == "clip.exe" else "utf-8"),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
