"""Copying takes every way that is there; a tool that fails or hangs takes nothing with it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fastdraft_app.terminal import clipboard


def tool(folder: Path, name: str, script: str) -> None:
    """A program called ``name`` that keeps what it is given."""
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is the whole search path, and a terminal without any desktop."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    for name in ("TMUX", "DISPLAY", "WAYLAND_DISPLAY", "WSL_DISTRO_NAME"):
        monkeypatch.delenv(name, raising=False)
    return folder


def test_the_tools_of_this_place(tools: Path) -> None:
    """Each desktop its own tool, tmux as well where we are in one, and none that is not installed."""
    for name in ("wl-copy", "xclip", "xsel", "pbcopy", "clip.exe", "tmux"):
        tool(tools, name, "cat >/dev/null")
    names = lambda environment, platform: [c[0] for c in clipboard.commands(environment, platform)]  # noqa: E731
    assert names({}, "linux") == []
    assert names({"WAYLAND_DISPLAY": "w", "DISPLAY": ":0"}, "linux") == ["wl-copy"]
    assert names({"DISPLAY": ":0", "TMUX": "t"}, "linux") == ["xclip", "tmux"]
    assert names({"WSL_DISTRO_NAME": "Debian"}, "linux") == ["clip.exe"]
    assert names({}, "darwin") == ["pbcopy"]
    (tools / "wl-copy").unlink()
    assert names({"WAYLAND_DISPLAY": "w", "DISPLAY": ":0"}, "linux") == ["xclip"]


def test_copying_reaches_the_tools_and_a_file(tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The text arrives as it is, also beyond ASCII; tmux is asked to hand it on to its terminal."""
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setenv("TMUX", "t")
    tool(tools, "xclip", f"cat > {tools}/xclip.txt")
    tool(tools, "tmux", f'echo "$@" > {tools}/tmux.arguments; cat > {tools}/tmux.txt')
    text = "def f():\n\treturn '日本 é'\n"
    taken, path = clipboard.copy(text)
    assert taken == ["xclip", "tmux"]
    assert (tools / "tmux.arguments").read_text().split() == ["load-buffer", "-w", "-"]
    for copied in (tools / "xclip.txt", tools / "tmux.txt", path):
        assert copied.read_bytes() == text.encode()


def test_a_tool_that_fails_or_hangs_is_not_named(tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No display behind DISPLAY, a tmux that does not answer: the file is there all the same."""
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setenv("TMUX", "t")
    monkeypatch.setattr(clipboard, "PATIENCE_SECONDS", 0.2)
    tool(tools, "xclip", "exit 1")
    tool(tools, "tmux", "exec sleep 30")
    taken, path = clipboard.copy("text")
    assert taken == []
    assert path.read_text() == "text"


def test_a_tool_that_stays_does_not_hold_us(tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """xclip goes on in the background to serve the clipboard; copying is done when it has taken the text."""
    monkeypatch.setenv("DISPLAY", ":0")
    tool(tools, "xclip", "cat >/dev/null; (sleep 3) & exit 0")
    before = os.times().elapsed
    assert clipboard.copy("text")[0] == ["xclip"]
    assert os.times().elapsed - before < clipboard.PATIENCE_SECONDS
