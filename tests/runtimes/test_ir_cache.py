"""Conversions are made once, kept by what they were made of, and never taken for another model's."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from fastdraft_core import places
from fastdraft_core.decoding.sampling import Sampling
from fastdraft_core.engine.load_options import LoadOptions
from fastdraft_core.engine.pair import Pair, load_pair
from fastdraft_core.errors import FastdraftError
from fastdraft_core.models.identity import source_key
from fastdraft_core.runtimes.openvino.ir_cache import ir_of, is_converted
from tests.folders import tiny_target, write_model
from tests.runtimes.models import noisy

EXACT = LoadOptions(dtype="float32", threads=1, runtime="openvino")


@pytest.fixture
def folder(tiny_pair: tuple[str, str], tmp_path: Path) -> Path:
    """A Hugging Face folder that a test may change."""
    return Path(shutil.copytree(tiny_pair[0], tmp_path / "model"))


def silent(step: str) -> None:
    """Nobody listens."""


def ids_of(pair: Pair, mode: str) -> list[int]:
    request = pair.request("def add", max_new_tokens=40, sampling=Sampling(), ignore_stops=True)
    return [t for record in pair.decode(mode, request, 4) for t in record.emitted]


def test_a_hugging_face_pair_decodes_the_same_text_as_pytorch(tiny_pair: tuple[str, str]) -> None:
    """Pitfalls 5, 14: in float32 both modes on OpenVINO give the tokens of both modes on PyTorch."""
    pair = load_pair(*tiny_pair, EXACT)
    expected = load_pair(*tiny_pair, LoadOptions(dtype="float32", threads=1, device="cpu"))
    assert ids_of(pair, "ar") == ids_of(pair, "sd") == ids_of(expected, "ar")
    assert (pair.runtime, pair.stops) == ("openvino", expected.stops)


def test_a_ready_ir_runs_as_it_is(tiny_pair: tuple[str, str], tmp_path: Path) -> None:
    """A folder with an IR and a tokenizer, such as a published draft, needs no safetensors and is not converted."""
    ready = tmp_path / "ready"
    shutil.copytree(ir_of(Path(tiny_pair[1]), "draft", "int8", silent), ready)
    shutil.rmtree(places.cache())
    pair = load_pair(tiny_pair[0], str(ready), EXACT)
    assert pair.draft is not None
    assert pair.draft.card.dtype == "int8"
    assert ids_of(pair, "ar") == ids_of(pair, "sd")
    assert len(list((places.cache() / "openvino").glob("*-original"))) == 1
    with pytest.raises(FastdraftError, match="OpenVINO model already"):
        load_pair(tiny_pair[0], str(ready), LoadOptions(runtime="openvino", draft_weights="int8"))
    with pytest.raises(FastdraftError, match="--runtime openvino"):
        load_pair(str(ready), None, LoadOptions(device="cpu"))


def test_other_weights_are_another_conversion(folder: Path) -> None:
    """The source's bytes and the format name it: a changed model is converted again, a touched or moved one is not."""
    steps: list[str] = []
    first = ir_of(folder, "my/model", "", steps.append)
    assert ir_of(folder, "my/model", "original", silent) == first
    assert not is_converted(folder, "my/model", "int8")
    assert ir_of(folder, "my/model", "int8", steps.append) != first
    os.utime(folder / "model.safetensors", (1, 1))
    assert ir_of(folder, "my/model", "", silent) == first
    key = source_key(folder)
    write_model(folder, noisy(tiny_target(), 0.1))
    assert source_key(folder) != key
    assert not is_converted(folder, "my/model", "")
    assert ir_of(folder, "my/model", "", steps.append) != first
    assert sum("once" in step for step in steps) == 3


def test_weights_are_read_for_their_hash_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A start with a model of many gigabytes does not read all of it again."""
    source_key(folder)
    monkeypatch.setattr("hashlib.file_digest", lambda *_: pytest.fail("read again"))
    assert source_key(folder)


def test_a_broken_off_conversion_is_made_again(folder: Path) -> None:
    """What is left of a process that was killed is never taken for a model."""
    place = ir_of(folder, "model", "", silent)
    (place / "openvino_model.bin").unlink()
    shutil.rmtree(place)
    assert not is_converted(folder, "model", "")
    assert ir_of(folder, "model", "", silent) == place
