"""The sweep's process starts wherever the user is."""

from __future__ import annotations

from pathlib import Path

import pytest

from fastdraft_app.client.sweep import SweepClient, SweepEnded
from tests.app.helpers import until


async def test_a_file_of_the_users_folder_is_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who starts the app beside a ``random.py`` of his own can sweep all the same."""
    (tmp_path / "random.py").write_text("raise SystemExit('this is no part of fastdraft')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONPATH")
    client = SweepClient(tmp_path / "sweep.log")
    await client.start(["sweep", "--help"], lambda: None)
    ended = await until(client, SweepEnded)
    assert ended.code == 0, (tmp_path / "sweep.log").read_text()
