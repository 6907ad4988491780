"""`fastdraft doctor`: what it checks and what it advises."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fastdraft_core import doctor, places


@pytest.fixture
def demo(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An assets folder with a complete bundled pair of one-tensor models."""
    header = json.dumps({"w": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]}}).encode()
    for part in ("target", "drafts/XS", "drafts/S", "drafts/M"):
        folder = tmp_path / "assets" / "demo" / part
        folder.mkdir(parents=True)
        (folder / "config.json").write_text("{}")
        (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + b"\0" * 4)
    monkeypatch.setattr(places, "assets", lambda: tmp_path / "assets")
    return tmp_path / "assets" / "demo"


def found(name: str) -> doctor.Check:
    """The check of that name."""
    return next(c for c in doctor.checks(bandwidth=False) if c.name == name)


def test_a_complete_pair_is_ok(demo: Path) -> None:
    """The newcomer's first question: is the bundled pair there?"""
    assert found("bundled pair").status == doctor.OK


@pytest.mark.parametrize("damage", ["truncate", "pointer", "garble", "missing"])
def test_a_damaged_pair_is_named(demo: Path, damage: str) -> None:
    """A checkout cut short, or with Git LFS pointers instead of weights, is named instead of crashing later."""
    weights = demo / "drafts/S/model.safetensors"
    if damage == "truncate":
        weights.write_bytes(weights.read_bytes()[:-1])
    elif damage == "pointer":
        weights.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    elif damage == "garble":
        weights.write_bytes(weights.read_bytes().replace(b"dtype", b"dtyp\xff"))
    else:
        weights.unlink()
    check = found("bundled pair")
    assert check.status == doctor.FAIL
    assert "drafts/S" in check.value
    assert "target" not in check.value.split(":")[-1]
    assert check.advice


def test_a_missing_library_is_named_with_its_install_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without openvino fastdraft still runs, so doctor warns; without torch it fails."""
    monkeypatch.setattr(doctor, "library_versions", lambda: {"torch": "absent", "openvino": "absent"})
    assert found("torch").status == doctor.FAIL
    assert found("openvino").status == doctor.WARN
    assert "pip install openvino" in found("openvino").advice


def test_a_full_disk_is_a_warning_with_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    """A training that dies of a full disk after hours could have been told at the start."""
    monkeypatch.setattr(places, "free_disk", lambda folder: 1 << 20)
    assert found("disk").status == doctor.WARN
    assert "FASTDRAFT_HOME" in found("disk").advice


def test_every_problem_comes_with_advice() -> None:
    """A line that is not ok says what to do about it."""
    assert all(c.advice for c in doctor.checks(bandwidth=False) if c.status != doctor.OK)


def test_hub_cache_follows_hugging_face(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Doctor shows the cache that Hugging Face really uses, by its own variables."""
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    assert doctor.hub_cache() == tmp_path / "hub"
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "elsewhere"))
    assert doctor.hub_cache() == tmp_path / "elsewhere"
