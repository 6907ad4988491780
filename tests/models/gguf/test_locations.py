"""Where people already have models: Ollama, LM Studio, llama.cpp's cache, folders and files, by the names they know."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path

import pytest

from fastdraft_core import places
from fastdraft_core.errors import FastdraftError
from fastdraft_core.models import catalog
from fastdraft_core.models.folders import local_folder
from fastdraft_core.models.local_models import doomed, drafts_for, shelf
from tests.folders import write_model as write_folder
from tests.models.gguf.writing import KINDS, byte_level, untrained, write_model


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model as GGUF."""
    return write(tmp_path_factory.mktemp("gguf") / "tiny-F32.gguf", "llama")


def write(path: Path, kind: str) -> Path:
    vocabulary = byte_level("gpt-2")
    return write_model(path, KINDS[kind], untrained(KINDS[kind], len(vocabulary.tokens)), vocabulary)


@pytest.fixture(autouse=True)
def nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user who has no models yet."""
    for name in ("OLLAMA_MODELS", "LLAMA_CACHE", "XDG_CACHE_HOME", "HF_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "user"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "no-hub"))
    monkeypatch.setattr(places, "assets", lambda: tmp_path / "no-assets")


def pull(home: Path, model: Path, *steps: str, **more: str) -> None:
    """What ``ollama pull`` leaves: a blob named by its hash, and a manifest that names it."""
    digest = hashlib.sha256(model.read_bytes()).hexdigest()
    blob = home / "blobs" / f"sha256-{digest}"
    blob.parent.mkdir(parents=True, exist_ok=True)
    if not blob.exists():
        os.link(model, blob)
    layers = [
        {"mediaType": "application/vnd.ollama.image.template", "digest": "sha256:" + "0" * 64, "size": 1},
        {"mediaType": "application/vnd.ollama.image.model", "digest": f"sha256:{digest}", "size": 2},
        *({"mediaType": f"application/vnd.ollama.image.{kind}", "digest": value} for kind, value in more.items()),
    ]
    manifest = home.joinpath("manifests", *steps)
    manifest.parent.mkdir(parents=True, exist_ok=True)
    manifest.write_text(json.dumps({"schemaVersion": 2, "layers": layers}))


@pytest.fixture
def ollama(tmp_path: Path, model: Path) -> Path:
    """Ollama with two models under three names, and one with an adapter."""
    home = tmp_path / "user" / ".ollama" / "models"
    pull(home, model, "registry.ollama.ai", "library", "llama3.2", "3b")
    pull(home, model, "registry.ollama.ai", "somebody", "tiny", "latest")
    pull(home, model, "hf.co", "owner", "tiny-GGUF", "Q4_K_M")
    pull(home, model, "registry.ollama.ai", "library", "tuned", "latest", adapter="sha256:" + "1" * 64)
    return home


def test_ollama_models_are_listed_and_found_by_their_names(ollama: Path) -> None:
    """The names are those of ``ollama list``; a tag that is left out is ``latest``."""
    listed = {entry.name: entry for entry in catalog.ollama_models()}
    assert sorted(listed) == [
        "ollama:hf.co/owner/tiny-GGUF:Q4_K_M",
        "ollama:llama3.2:3b",
        "ollama:somebody/tiny:latest",
    ]
    blob = next((ollama / "blobs").iterdir())
    for name in (*listed, "ollama:somebody/tiny"):
        assert catalog.resolve(name) == str(blob)
    entry = listed["ollama:llama3.2:3b"]
    assert (entry.architecture, entry.quantization) == ("LlamaForCausalLM", "F32")
    assert entry.weight_bytes == blob.stat().st_size


@pytest.mark.parametrize(
    ("name", "because"),
    [
        ("ollama:llama3.2", "no model 'llama3.2' here. It has ollama:llama3.2:3b"),
        ("ollama:tuned", "adapter"),
        ("ollama:../../etc/passwd", "is no name of an Ollama model"),
        ("ollama:", "is no name of an Ollama model"),
    ],
)
def test_other_ollama_names_are_refused_with_a_reason(name: str, because: str, ollama: Path) -> None:
    """A slip is answered with what there is; a name never leads out of the folder."""
    with pytest.raises(FastdraftError, match=because.replace("'", ".")):
        catalog.resolve(name)


def test_without_ollama_nothing_is_listed() -> None:
    """And a name says what to do."""
    assert catalog.ollama_models() == catalog.lm_studio_models() == catalog.llama_cpp_models() == []
    with pytest.raises(FastdraftError, match="ollama pull"):
        catalog.resolve("ollama:llama3.2")


def test_a_missing_blob_and_a_damaged_manifest_are_told(ollama: Path) -> None:
    """Half a pull is no model."""
    next((ollama / "blobs").iterdir()).unlink()
    with pytest.raises(FastdraftError, match="lacks its file"):
        catalog.resolve("ollama:llama3.2:3b")
    (ollama / "manifests" / "registry.ollama.ai" / "library" / "llama3.2" / "3b").write_text("{")
    with pytest.raises(FastdraftError, match="is damaged"):
        catalog.resolve("ollama:llama3.2:3b")
    assert catalog.ollama_models() == []


def test_lm_studio_and_llama_cpp_are_listed(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By file; an encoder of images beside a model is none, and what cannot be imported is left out."""
    studio = tmp_path / "user" / ".lmstudio" / "models" / "publisher" / "tiny-GGUF"
    cache = tmp_path / "cache"
    monkeypatch.setenv("LLAMA_CACHE", str(cache))
    for folder in (studio, cache):
        folder.mkdir(parents=True)
        os.link(model, folder / model.name)
    os.link(model, studio / "mmproj-tiny.gguf")
    (studio / "broken.gguf").write_bytes(b"GGUF")
    assert [entry.name for entry in catalog.lm_studio_models()] == [str(studio / model.name)]
    assert [entry.name for entry in catalog.llama_cpp_models()] == [str(cache / model.name)]
    assert [entry.name for entry in catalog.models_in(tmp_path / "user" / ".lmstudio", 3)] == [str(studio / model.name)]


def test_a_file_and_its_folder_name_one_model(tmp_path: Path, model: Path) -> None:
    """A folder that holds several asks which one; a lasting name has the whole path."""
    os.link(model, tmp_path / "one.gguf")
    assert catalog.resolve(str(tmp_path)) == catalog.resolve(str(tmp_path / "one.gguf")) == str(tmp_path / "one.gguf")
    assert catalog.lasting(str(tmp_path / "one.gguf")) == str(tmp_path / "one.gguf")
    os.link(model, tmp_path / "two.gguf")
    with pytest.raises(FastdraftError, match=r"holds 2 GGUF models \(one\.gguf, two\.gguf\)"):
        catalog.resolve(str(tmp_path))
    with pytest.raises(FastdraftError, match="There is no file"):
        catalog.resolve(str(tmp_path / "three.gguf"))
    (tmp_path / "text.gguf").write_text("hello")
    with pytest.raises(FastdraftError, match="is no GGUF file"):
        catalog.resolve(str(tmp_path / "text.gguf"))


def test_drafts_fit_by_tokens_across_forms(tmp_path: Path, model: Path, ollama: Path) -> None:
    """A Hugging Face folder with the tokens of a GGUF file fits it; one with other tokens does not."""
    folder = local_folder(str(model), report=lambda step: None)
    assert doomed(next(one for one in shelf() if one.place == "imported")) == folder
    here = tmp_path / "models"
    here.mkdir()
    large = write(here / "large.gguf", "gemma3")
    other = tmp_path / "models" / "other"
    write_folder(other, untrained(KINDS["llama"], 300))
    models = {one.name: one for one in shelf([here])}
    assert models["ollama:llama3.2:3b"].place == "Ollama", "of several names of one file the shortest"
    drafts = {one.name for one in drafts_for(models[str(large)], models.values())}
    assert {str(folder), "ollama:llama3.2:3b"} <= drafts
    assert str(other) not in drafts
    with pytest.raises(FastdraftError, match=r"ollama rm llama3\.2:3b"):
        doomed(models["ollama:llama3.2:3b"])


def test_files_in_the_hub_cache_are_listed_by_their_paths(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several quantizations of one repository, in it and one folder below; the snapshot links to blobs."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    repository = tmp_path / "hub" / "models--owner--tiny-GGUF"
    snapshot, blobs = repository / "snapshots" / "0123abc", repository / "blobs"
    (snapshot / "Q8").mkdir(parents=True)
    blobs.mkdir()
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0123abc")
    for number, name in enumerate(("tiny-F32.gguf", "Q8/tiny-Q8.gguf")):
        shutil.copy(model, blobs / str(number))
        (snapshot / name).symlink_to(blobs / str(number))
    found = [one for one in shelf() if one.place == "Hugging Face cache"]
    assert [one.name for one in found] == [str(snapshot / "tiny-F32.gguf"), str(snapshot / "Q8/tiny-Q8.gguf")]
    assert catalog.resolve(found[0].name) == found[0].name
    with pytest.raises(FastdraftError, match="hf cache rm"):
        doomed(found[0])
