"""Odd bytes from the terminal do not end the app."""

from __future__ import annotations

import sys

import pytest

from fastdraft_app.terminal.modes import tolerate_old_mouse_bytes

X10_REPORT = b"\x1b[M \xf0\x80"


@pytest.mark.skipif(sys.platform == "win32", reason="the Windows driver decodes in another way")
def test_old_mouse_bytes_are_survived(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mouse report in the X10 form after a tmux re-attach no longer kills the input thread."""
    from textual.drivers import linux_driver

    strict = linux_driver.getincrementaldecoder("utf-8")().decode  # type: ignore[attr-defined]
    with pytest.raises(UnicodeDecodeError):
        strict(X10_REPORT + b"q", final=True)
    monkeypatch.setattr(linux_driver, "getincrementaldecoder", linux_driver.getincrementaldecoder)  # restored after
    tolerate_old_mouse_bytes()
    tolerant = linux_driver.getincrementaldecoder("utf-8")().decode  # type: ignore[attr-defined]
    assert tolerant(X10_REPORT, final=False).startswith("\x1b[M ")
    assert tolerant("é".encode()[:1], final=False).endswith("")
    assert "é" in tolerant("é".encode()[1:] + "é".encode(), final=True)
