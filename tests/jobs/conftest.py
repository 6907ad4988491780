"""Jobs made of quick workers, and the certainty that none of them outlives its test."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from fastdraft_core import places
from fastdraft_core.jobs import processes, queue
from fastdraft_core.jobs.folder import job_folders
from tests.jobs import worker
from tests.jobs.tiny import tiny_recipe

Submit = Callable[..., Path]


@pytest.fixture(autouse=True)
def _no_job_survives(home: Path) -> Iterator[None]:
    """Every process of this test's jobs is ended."""
    yield
    for process in psutil.process_iter(["cmdline"]):
        if any(str(home) in part for part in process.info["cmdline"] or ()) and process.pid != os.getpid():
            process.kill()


@pytest.fixture
def submit(monkeypatch: pytest.MonkeyPatch) -> Submit:
    """Queue a job of a quick worker by its name."""
    monkeypatch.setattr(processes, "COMMAND", worker.COMMAND)

    def submitted(name: str, device: str = "cpu") -> Path:
        folder = places.jobs() / name
        queue.submit(tiny_recipe(name=name), folder, detach=True, device=device)
        return folder

    return submitted


@pytest.fixture
def end_all() -> Iterator[Callable[[], None]]:
    """Let all work come to its end."""

    def ended() -> None:
        for folder in job_folders():
            (folder / "end").touch()

    return ended
