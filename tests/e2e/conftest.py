"""What every end-to-end test shares: nothing that it started outlives it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest


@pytest.fixture(autouse=True)
def _nothing_survives(home: Path) -> Iterator[None]:
    """Every process of this test's job is ended."""
    yield
    for process in psutil.process_iter(["cmdline"]):
        if any(str(home) in part for part in process.info["cmdline"] or ()) and process.pid != os.getpid():
            process.kill()
