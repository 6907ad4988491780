"""What people type for a model, and what they are told when there is none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fastdraft_core import places
from fastdraft_core.errors import FastdraftError
from fastdraft_core.models import catalog


@pytest.fixture
def assets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installation with a bundled target and two drafts."""
    folder = tmp_path / "assets"
    for model in ("target", "drafts/M", "drafts/XS"):
        (folder / "demo" / model).mkdir(parents=True)
        (folder / "demo" / model / "config.json").write_text("{}")
    monkeypatch.setattr(places, "assets", lambda: folder)
    return folder


def test_demo_is_the_bundled_target_and_demo_s_a_draft(assets: Path) -> None:
    """``demo`` and ``demo:XS`` work wherever a model is named; drafts are listed smallest first."""
    assert catalog.resolve("demo") == str(assets / "demo" / "target")
    assert catalog.resolve("demo:XS") == str(assets / "demo" / "drafts" / "XS")
    assert catalog.bundled_drafts("demo") == ["demo:XS", "demo:M"]


def test_an_unknown_bundled_name_lists_the_known_ones(assets: Path) -> None:
    """A slip such as demo:L is answered with what there is."""
    with pytest.raises(FastdraftError, match="no bundled model 'demo:L'; bundled: demo, demo:XS, demo:M"):
        catalog.resolve("demo:L")


def test_a_folder_is_itself_and_a_hub_id_stays_one(tmp_path: Path) -> None:
    """Nothing is guessed: a model folder is used as it is, owner/model goes to the hub."""
    (tmp_path / "config.json").write_text("{}")
    assert catalog.resolve(str(tmp_path)) == str(tmp_path)
    assert catalog.resolve("owner/some-model") == "owner/some-model"


def test_a_lasting_name_means_the_same_from_every_folder(
    assets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder has its whole path; the bundled models, hub ids and what is not there keep their names."""
    monkeypatch.chdir(assets)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    target = str(assets / "demo" / "target")
    assert [catalog.lasting(name) for name in ("demo/target", "./demo/target/", "~/assets/demo/target", target)] == [
        target
    ] * 4
    # A folder ``demo`` lies here; the bundled model has precedence, as where it is loaded.
    for name in ("demo", "demo:XS", "owner/some-model", "./nowhere", "~no-such-user-here/x", ""):
        assert catalog.lasting(name) == name


@pytest.mark.parametrize("name", ["nowhere", "./nowhere/model", "/nowhere/model", "~/nowhere/at/all", "a/b/c"])
def test_a_missing_folder_is_no_hub_id(name: str) -> None:
    """A mistyped path is called that, not searched for on the network."""
    with pytest.raises(FastdraftError, match="no model folder"):
        catalog.resolve(name)


def test_a_home_that_nobody_has_is_a_missing_folder() -> None:
    """A tilde with a name that no user has is one sentence too."""
    with pytest.raises(FastdraftError, match="no model folder"):
        catalog.resolve("~no-such-user-here/model")


def test_a_file_and_an_empty_folder_are_told_apart(tmp_path: Path) -> None:
    """Both messages say what to give instead."""
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(FastdraftError, match="is a file; give the folder"):
        catalog.resolve(str(tmp_path / "model.safetensors"))
    with pytest.raises(FastdraftError, match=r"no config\.json"):
        catalog.resolve(str(tmp_path))


def write_model(folder: Path, architecture: str = "LlamaForCausalLM", vocab_size: int = 300, **more: object) -> Path:
    """A model folder as a list sees it: a configuration and weights of 10 bytes."""
    folder.mkdir(parents=True)
    config = {"architectures": [architecture], "vocab_size": vocab_size, **more}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model.safetensors").write_bytes(b"0123456789")
    return folder


def test_models_of_a_folder_are_found_two_levels_down(tmp_path: Path) -> None:
    """People keep models as models/name or models/owner/name; what cannot be decoded with is left out."""
    write_model(tmp_path / "one")
    write_model(tmp_path / "owner" / "two", vocab_size=400)
    write_model(tmp_path / "a" / "b" / "too-deep")
    write_model(tmp_path / ".hidden")
    write_model(tmp_path / "ir.building-123")
    write_model(tmp_path / "encoder", "BertModel")
    (write_model(tmp_path / "no-weights") / "model.safetensors").unlink()
    (write_model(tmp_path / "broken") / "config.json").write_text("{")
    (write_model(tmp_path / "binary") / "config.json").write_bytes(b"\xff")
    found = catalog.models_in(tmp_path)
    assert [(Path(m.name).name, m.vocab_size, m.weight_bytes) for m in found] == [("one", 300, 10), ("two", 400, 10)]
    assert catalog.models_in(tmp_path / "one")[0].name == str(tmp_path / "one")
    assert catalog.models_in(tmp_path / "nowhere") == []


def test_an_openvino_folder_and_a_nested_vocabulary_are_models_too(tmp_path: Path) -> None:
    """A converted model has no safetensors; a multimodal one keeps its vocabulary in the text part."""
    folder = write_model(tmp_path / "ir")
    (folder / "model.safetensors").rename(folder / "openvino_model.bin")
    write_model(tmp_path / "vision", "Gemma3ForConditionalGeneration", vocab_size=0, text_config={"vocab_size": 7})
    assert [m.vocab_size for m in catalog.models_in(tmp_path)] == [300, 7]


def test_the_hub_cache_is_listed_by_hub_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was downloaded before can be picked by its name, in the newest revision; data sets are no models."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    assert catalog.cached_models() == [], "an empty cache is no error"
    for kind, name in (("models", "org--llama"), ("models", "gpt-tiny"), ("datasets", "org--texts")):
        repository = tmp_path / f"{kind}--{name}"
        write_model(repository / "snapshots" / "0123abc")
        (repository / "refs").mkdir()
        (repository / "refs" / "main").write_text("0123abc")
    assert [entry.name for entry in catalog.cached_models()] == ["gpt-tiny", "org/llama"]
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "nowhere"))
    assert catalog.cached_models() == []


def test_the_bundled_models_can_be_listed() -> None:
    """A picker without a network still has the bundled pair, target first, and the drafts of a target that is to be had."""
    names = [entry.name for entry in catalog.bundled_models()]
    assert names == ["demo", "demo:XS", "demo:S", "demo:M", "smollm2:S", "smollm2:M"]
    assert all(entry.weight_bytes > 1 << 20 for entry in catalog.bundled_models())
