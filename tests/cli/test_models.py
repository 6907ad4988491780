"""``fastdraft models``: the list of the models screen, what fits what, a conversion, and a deletion that asks."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from fastdraft_core import places
from fastdraft_core.history import remember_folder
from fastdraft_core.models.local_models import export_folder
from tests.commands import Cli
from tests.models.test_local_models import write

TOKENS = {"a": 0, "b": 1}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a target and its draft that the app was told of, an export, and a model of the Hugging Face cache."""
    hub = tmp_path / "hub"
    monkeypatch.setenv("HF_HUB_CACHE", str(hub))
    monkeypatch.setattr(places, "assets", lambda: tmp_path / "no-assets")
    write(tmp_path / "mine" / "target", TOKENS, 20_000)
    write(tmp_path / "mine" / "draft", TOKENS, 900)
    write(places.exports() / "other-int8-ov", {"b": 0, "a": 1}, 700)
    commit = "a" * 40
    write(hub / "models--owner--model" / "snapshots" / commit, {"c": 0}, 300)
    refs = hub / "models--owner--model" / "refs"
    refs.mkdir()
    (refs / "main").write_text(commit)
    remember_folder(places.history(), str(tmp_path / "mine"))
    return tmp_path / "mine"


def listed(out: str) -> list[dict[str, Any]]:
    """JSON lines."""
    return [json.loads(line) for line in out.splitlines()]


def test_the_list_is_that_of_the_screen(cli: Cli, here: Path) -> None:
    """Folders that were told to the app are looked through; a program reads a line a model."""
    code, out, _ = cli("models")
    assert code == 0
    assert all(name in out for name in (str(here / "target"), "other-int8-ov", "owner/model", "20.0k"))
    found = listed(cli("models", "--json")[1])
    assert [(one["place"], one["parameters"]) for one in found] == [
        ("folders", 900),
        ("folders", 20_000),
        ("exported", 700),
        ("Hugging Face cache", 300),
    ]
    assert found[0]["memory"]["bf16"] == 1800


def test_published_drafts_say_whether_they_are_here(cli: Cli) -> None:
    """What others published is listed with its target, from this program's own table."""
    found = listed(cli("models", "list", "--published", "--json")[1])
    assert {one["target"] for one in found} >= {"microsoft/Phi-3-mini-4k-instruct"}
    assert not any(one["draft_here"] for one in found)


def test_what_fits_is_found_by_the_tokens(cli: Cli, here: Path) -> None:
    """The pair is the one that enter on the screen takes; a model may be named by the last part of its path."""
    code, out, _ = cli("models", "fit", "target", "--json")
    (told,) = listed(out)
    assert code == 0
    assert [one["folder"] for one in told["drafts"]] == [str(here / "draft")]
    assert told["targets"] == []
    assert told["best"] == {
        "target": str(here / "target"),
        "draft": str(here / "draft"),
        "why": "the smallest that fits",
    }
    words = cli("models", "fit", str(here / "draft"))[1]
    assert "drafts that fit" in words
    assert f"best: {here / 'target'} with {here / 'draft'} (the largest that it fits)" in words


def test_a_model_that_is_not_here_is_one_sentence(cli: Cli) -> None:
    """The sentence names the list."""
    for command in ("fit", "convert", "delete"):
        code, out, err = cli("models", command, "nowhere")
        assert (code, out) == (1, "")
        assert "`fastdraft models` lists" in err


def test_nothing_but_what_fastdraft_made_is_deleted(cli: Cli, here: Path, tmp_path: Path) -> None:
    """A user's folder, the cache of other programs, and what a link in fastdraft's own folder leads to, stay, --yes or not."""
    outside = write(tmp_path / "elsewhere" / "linked", TOKENS, 600)
    (places.exports() / "link").symlink_to(outside)
    for name, words in (
        ("target", "it is yours"),
        ("owner/model", "hf cache rm model/owner/model"),
        (str(places.exports() / "link"), "Delete it by hand"),
    ):
        code, _, err = cli("models", "delete", name, "--yes")
        assert code == 1, name
        assert words in err
    (places.exports() / "link").unlink()
    (places.exports() / "folder").symlink_to(outside.parent)
    code, _, err = cli("models", "delete", str(places.exports() / "folder" / "linked"), "--yes")
    assert code == 1
    assert "Delete it by hand" in err
    assert (outside / "model.safetensors").is_file()
    assert (here / "target").is_dir()
    assert len(listed(cli("models", "list", "--json")[1])) == 5


def test_delete_asks_first(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """No answer and no leave it; --yes does not ask."""
    folder = places.exports() / "other-int8-ov"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"n\n")))
    code, _, err = cli("models", "delete", "other-int8-ov")
    assert code == 1
    assert f"Delete {folder}" in err
    assert folder.is_dir()
    code, out, _ = cli("models", "delete", "other-int8-ov", "--yes", "--json")
    assert code == 0
    assert listed(out)[0]["folder"] == str(folder)
    assert not folder.exists()


def test_convert_writes_beside_the_other_exports(
    cli: Cli, here: Path, tiny_pair: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder is the one that the screen writes to, and a program reads where it is; a second time there is nothing to do."""
    draft = tiny_pair[1]
    remember_folder(places.history(), str(Path(draft).parent))
    monkeypatch.chdir(here)
    code, out, err = cli("models", "convert", draft, "--json")
    assert code == 0, err
    told = listed(out)[-1]
    assert told["folder"] == str(export_folder(draft))
    assert told["weights"] == "int8_asym"
    assert (Path(told["folder"]) / "openvino_model.xml").is_file()
    code, _, err = cli("models", "convert", draft)
    assert code == 1
    assert "not empty" in err
    code, out, err = cli("models", "convert", draft, "--to", "hf", "--json")
    assert code == 0, err
    assert listed(out)[-1]["folder"] == str(export_folder(draft, "hf"))
