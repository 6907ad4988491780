"""``fastdraft export --push``: what is written lies on the hub, private unless told otherwise; nothing is pushed unasked."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commands import Cli
from tests.hub import Hub, running_hub

PATIENCE = 120.0


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub that takes uploads of one token; for child processes, since its library reads the environment once."""
    with running_hub() as found:
        found.token = "hf_test"
        monkeypatch.setenv("HF_ENDPOINT", found.url)
        monkeypatch.setenv("HF_HUB_OFFLINE", "0")
        monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
        monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
        monkeypatch.setenv("HF_TOKEN", "hf_test")
        yield found


def export(*arguments: str) -> tuple[int, str, str]:
    """``fastdraft export`` as a process."""
    done = subprocess.run(
        [sys.executable, "-m", "fastdraft_core.cli", "export", *arguments],
        capture_output=True, text=True, timeout=PATIENCE, check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


def test_what_is_written_lies_on_the_hub(hub: Hub, tiny_pair: tuple[str, str], tmp_path: Path) -> None:
    """Every file comes over byte by byte, into a model that nobody else sees; a program reads where it is."""
    output = tmp_path / "out"
    code, out, err = export(tiny_pair[1], "--to", "hf", "--output", str(output), "--push", "owner/draft", "--json")
    assert code == 0, err
    told = json.loads(out)
    assert told["pushed"] == f"{hub.url}/owner/draft"
    assert told["folder"] == str(output)
    there = {file.name: file.read_bytes() for file in output.iterdir()}
    assert hub.models["owner/draft"] == there
    assert "model.safetensors" in there
    assert hub.private == {"owner/draft": True}


def test_a_token_that_may_not_write_is_one_sentence(hub: Hub, tiny_pair: tuple[str, str], tmp_path: Path) -> None:
    """The export is not lost, and the sentence says how to push it later; a model is public only where that is asked."""
    hub.token = "hf_other"
    output = tmp_path / "out"
    code, _, err = export(tiny_pair[1], "--to", "hf", "--output", str(output), "--push", "owner/draft", "--public")
    assert code == 1
    assert "does not let this token write to owner/draft (401)" in err
    assert f"hf upload owner/draft {output}" in err
    assert (output / "model.safetensors").is_file()
    assert hub.models == {}


def test_what_cannot_be_pushed_is_told_before_anything_is_written(
    cli: Cli, tiny_pair: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No token, no such name, no network, and --public alone: before hours of conversion."""
    from huggingface_hub import constants

    output = tmp_path / "out"
    common = ["export", tiny_pair[1], "--to", "hf", "--output", str(output)]
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    for arguments, words in (
        (["--push", "owner/draft"], "HF_HUB_OFFLINE"),
        (["--push", "draft"], "owner/name"),
        (["--public"], "give both or neither"),
    ):
        code, _, err = cli(*common, *arguments)
        assert code == 1
        assert words in err
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    code, _, err = cli(*common, "--push", "owner/draft")
    assert code == 1
    assert "hf auth login" in err
    assert not output.exists()
