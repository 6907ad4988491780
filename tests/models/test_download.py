"""Downloading from a stand-in of the hub: what comes, what is told, and going on after it was broken off."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastdraft_core.errors import FastdraftError
from fastdraft_core.models import download
from tests.hub import Hub, running_hub

PATIENCE = 90.0
BIG = 24 << 20
"""Two of the chunks that the hub's library writes, and a bit."""


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub with a model, a gated one, and a cache of this test's own; for child processes."""
    with running_hub() as found:
        found.models["owner/model"] = {
            "config.json": b"{}",
            "model.safetensors": b"x" * 5000,
            "pytorch_model.bin": b"pickled",
            "original/model.safetensors": b"again",
        }
        found.models["owner/gated"] = {"config.json": b"{}"}
        found.gated.add("owner/gated")
        monkeypatch.setenv("HF_ENDPOINT", found.url)
        monkeypatch.setenv("HF_HUB_OFFLINE", "0")
        monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
        monkeypatch.delenv("HF_HUB_CACHE", raising=False)
        yield found


def start(*arguments: str) -> subprocess.Popen[str]:
    """``fastdraft download`` as the app starts it."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.Popen(
        [sys.executable, "-m", "fastdraft_core.cli", "download", *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip


def test_a_model_comes_whole_and_without_pickles(hub: Hub) -> None:
    """What a model needs lies in the cache, its folder is the data of the command; a second time nothing is fetched."""
    out, _ = (process := start("owner/model")).communicate(timeout=PATIENCE)
    assert process.returncode == 0
    folder = Path(out.strip())
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]
    assert (folder / "model.safetensors").stat().st_size == 5000
    out, _ = start("owner/model", "--json").communicate(timeout=PATIENCE)
    assert json.loads(out.splitlines()[-1])["what"] == "downloaded owner/model"


def test_a_broken_download_goes_on_where_it_stopped(hub: Hub) -> None:
    """kill -9 in the middle: the bytes that came are counted and not asked for again."""
    hub.models["owner/big"] = {"config.json": b"{}", "model.safetensors": os.urandom(BIG)}
    hub.go_on.clear()
    process = start("owner/big", "--json")
    assert process.stdout is not None
    done = 0
    while done < 8 << 20:
        told = json.loads(process.stdout.readline())
        assert told["total"] == BIG + 2
        done = told["done"]
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=PATIENCE)
    hub.ranges.clear()
    hub.go_on.set()
    out, err = (process := start("owner/big", "--json")).communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    assert json.loads(out.splitlines()[-1])["done"] == BIG + 2
    assert any(int(asked.removeprefix("bytes=").split("-")[0]) >= 8 << 20 for asked in hub.ranges)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("owner/gated", "is gated: accept its terms"),
        ("owner/none", "has no model 'owner/none'"),
        ("no id at all", "has no model 'no id at all'"),
    ],
)
def test_refusals_say_what_to_do(hub: Hub, name: str, said: str) -> None:
    """One sentence, no traceback, and how to log in."""
    _, err = (process := start(name)).communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert said in err
    assert "hf auth login" in err
    assert "Traceback" not in err


def test_without_a_network_the_way_by_hand_is_told(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hub that cannot be reached, and one that is switched off, are told apart."""
    # Nobody listens on the discard port.
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    _, err = start("owner/model").communicate(timeout=PATIENCE)
    assert "cannot be reached" in err
    assert "by hand" in err
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    began = time.monotonic()
    _, err = start("owner/model").communicate(timeout=PATIENCE)
    assert "HF_HUB_OFFLINE is set" in err, time.monotonic() - began


def test_a_disk_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """On Windows the drive of HF_HOME may be missing; the network is not to blame then."""

    def missing(path: Path) -> None:
        raise FileNotFoundError(2, "No such file or directory", str(path))

    monkeypatch.setattr("fastdraft_core.places.free_disk", missing)
    with pytest.raises(FastdraftError, match=r"The disk of .* cannot be read .* Set HF_HOME"):
        download._check_room("owner/model", 1)


def test_loading_by_id_fetches_what_a_download_does(hub: Hub) -> None:
    """Copies of the same weights in other forms came with it, gigabytes of them, and were counted as the model's."""
    hub.models["owner/model"] |= {
        "consolidated.safetensors": b"again",
        "onnx/model.safetensors": b"again",
        "generation_config.json": b"{}",
    }
    # A process of its own: this one is offline.
    load = "from fastdraft_core.models.folders import local_folder; print(local_folder('owner/model'))"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", load], env=environment, capture_output=True, text=True, check=True)
    folder = Path(done.stdout.strip())
    found = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    assert found == ["config.json", "generation_config.json", "model.safetensors"]
