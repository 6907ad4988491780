"""Where things lie, also on a disk that is not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from fastdraft_core.places import existing_parent, free_disk


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
