"""What is remembered in files: found again, and never a reason to fail."""

from __future__ import annotations

from pathlib import Path

import pytest

from fastdraft_core.files import remember, remembered


def test_what_was_remembered_is_found_again(tmp_path: Path) -> None:
    """Folders are made for it; nothing else is left beside it."""
    path = tmp_path / "cache" / "figures.json"
    assert remembered(path, dict[str, float]) is None
    remember(path, {"a": 1.5})
    remember(path, {"a": 2.5})
    assert remembered(path, dict[str, float]) == {"a": 2.5}
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"a": "b"}', b'{"\xff": 1}', b"\xff"])
def test_a_damaged_file_is_as_good_as_none(tmp_path: Path, data: bytes) -> None:
    """A bad disk costs a measurement and ends no program, also where its bytes are no text at all."""
    path = tmp_path / "figures.json"
    path.write_bytes(data)
    assert remembered(path, dict[str, float]) is None


def test_a_cache_that_cannot_be_written_ends_nothing(tmp_path: Path) -> None:
    """A file stands where the cache's folder should be."""
    (tmp_path / "cache").write_text("")
    remember(tmp_path / "cache" / "figures.json", {"a": 1.5})
    assert remembered(tmp_path / "cache" / "figures.json", dict[str, float]) is None
