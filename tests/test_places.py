"""Where things lie, also on a disk that is not there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fastdraft_core.errors import FastdraftError
from fastdraft_core.places import existing_parent, free_disk, log_file


def test_the_nearest_folder_that_exists(tmp_path: Path) -> None:
    """A cache that is yet to be made lies on the disk of the folder above it."""
    assert existing_parent(tmp_path / "cache" / "hub") == tmp_path
    assert existing_parent(tmp_path) == tmp_path
    assert free_disk(tmp_path / "cache" / "hub") > 0


def test_a_drive_that_is_missing_is_no_endless_search(monkeypatch: pytest.MonkeyPatch) -> None:
    """On Windows even the root of a path may not exist; asking for the room there hung for ever."""
    monkeypatch.setattr(Path, "exists", lambda path: False)
    folder = Path.cwd() / "cache"
    assert existing_parent(folder) == Path(folder.anchor)


@pytest.mark.parametrize("home", ["file", "file/below", "~nobody-of-this-name/x"])
def test_a_home_that_cannot_be_used_is_one_sentence(home: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the first thing that every program asks for, before there is a log to write a traceback to."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FASTDRAFT_HOME", home if home.startswith("~") else str(tmp_path / home))
    with pytest.raises(FastdraftError, match="FASTDRAFT_HOME"):
        log_file("fastdraft")


@pytest.mark.parametrize("program", ["fastdraft_core.cli", "fastdraft_app.app"])
def test_both_programs_say_it_without_a_traceback(program: str, tmp_path: Path) -> None:
    """One line on standard error, and an exit code that says that nothing was done."""
    (tmp_path / "file").write_text("")
    given = os.environ | {"FASTDRAFT_HOME": str(tmp_path / "file"), "TEXTUAL_DRIVER": "none"}
    done = subprocess.run([sys.executable, "-m", program], env=given, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert done.stderr.count("\n") == 1
    assert "Set FASTDRAFT_HOME to a folder that can be written" in done.stderr
