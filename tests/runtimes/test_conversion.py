"""Conversion to OpenVINO: the same model comes out, whole or not at all, and nothing else happens."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fastdraft_core.errors import FastdraftError
from fastdraft_core.models.weights import MODEL_FILE, is_ir
from fastdraft_core.runtimes.openvino.conversion import WeightFormat, convert
from tests.folders import WIDTH, write_model
from tests.runtimes.models import small_model

IDS = [3, 250, 17, 17, 299, 0, 42]
F32 = {"INFERENCE_PRECISION_HINT": "f32", "KV_CACHE_PRECISION": "f32", "INFERENCE_NUM_THREADS": 1}


def _silent(step: str) -> None:
    """Nobody listens."""


def _logits(folder: Path, ids: list[int] = IDS) -> torch.Tensor:
    """Logits ``[len(ids), V]`` of an IR, computed in float32."""
    import openvino

    request = openvino.Core().compile_model(folder / MODEL_FILE, "CPU", F32).create_infer_request()
    count = len(ids)
    feed = {
        "input_ids": np.array([ids]),
        "attention_mask": np.ones((1, count), np.int64),
        "position_ids": np.arange(count)[None],
        "beam_idx": np.zeros(1, np.int32),
    }
    return torch.from_numpy(request.infer(feed)["logits"][0].copy())


def _torch_logits(folder: str) -> torch.Tensor:
    from transformers import AutoModelForCausalLM

    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    with torch.inference_mode():
        return model(torch.tensor([IDS])).logits[0]


# --- weight formats ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("original", "original"),
        ("bf16", "bf16"),
        ("F16", "f16"),
        ("int8", "int8_asym"),
        ("int8_asym", "int8_asym"),
        ("int8_sym", "int8_sym"),
        ("int4", "int4_asym:128:1"),
        ("int4:64", "int4_asym:64:1"),
        ("int4:128:0.8", "int4_asym:128:0.8"),
        ("int4_sym:-1", "int4_sym:-1:1"),
    ],
)
def test_what_people_type_has_one_canonical_name(text: str, name: str) -> None:
    """int8 and int8_asym are the same weights, and so one entry in a cache of conversions."""
    found = WeightFormat.parse(text)
    assert str(found) == name
    assert WeightFormat.parse(name) == found
    assert not set(found.slug) & set(':/\\ "')


@given(st.sampled_from(["int4_asym", "int4_sym"]), st.integers(2, 1024), st.integers(0, 100))
def test_a_canonical_name_says_everything(kind: str, group: int, percent: int) -> None:
    """Formats that differ never share a name."""
    weights = WeightFormat(kind, group, percent / 100)
    assert WeightFormat.parse(str(weights)) == weights


@pytest.mark.parametrize(
    "text",
    ["", "int3", "int8:128", "int4:0", "int4:1", "int4:-2", "int4:x", "int4:128:1.5", "int4:128:nan", "int4:1:1:1"],
)
def test_other_formats_are_refused_with_what_to_write(text: str) -> None:
    """The message shows forms that work."""
    with pytest.raises(FastdraftError, match=r"int[48]") as refused:
        WeightFormat.parse(text)
    assert refused.value.message.count("\n") == 0


# --- conversion ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def converted(tiny_pair: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The tiny target as an IR in the asked format, each converted once."""

    @cache
    def made(weights: str) -> Path:
        folder = tmp_path_factory.mktemp("converted") / "ir"
        steps: list[str] = []
        convert(Path(tiny_pair[0]), folder, WeightFormat.parse(weights), steps.append, name="tiny")
        assert steps
        assert all("tiny" in step for step in steps)
        return folder

    return made


@pytest.mark.parametrize(
    ("weights", "tolerance"),
    [("original", 1e-4), ("bf16", 0.02), ("f16", 0.005), ("int8", 0.03), ("int8_sym", 0.03), ("int4:128", 0.35)],
)
def test_the_converted_model_is_the_source(
    converted: Callable[[str], Path], tiny_pair: tuple[str, str], weights: str, tolerance: float
) -> None:
    """The logits are the source's up to what the weights can hold, relative to their own spread.

    The group of 128 divides no layer here: it is adjusted, not refused.
    """
    expected = _torch_logits(tiny_pair[0])
    found = _logits(converted(weights))
    assert found.shape == (len(IDS), WIDTH)
    assert (found - expected).square().mean().sqrt() <= tolerance * expected.std()
    assert is_ir(converted(weights))
    assert (converted(weights) / "tokenizer.json").is_file()


def test_smaller_formats_make_smaller_files(converted: Callable[[str], Path]) -> None:
    """bf16 halves float32, int8 halves that but for its scales, and int4 is smaller again."""
    floats, halves, bytes_, nibbles = (
        (converted(weights) / "openvino_model.bin").stat().st_size
        for weights in ("original", "bf16", "int8", "int4:128")
    )
    assert floats > 1.9 * halves
    assert halves > 1.5 * bytes_
    assert bytes_ > nibbles


@pytest.mark.parametrize("architecture", ["qwen2", "phi3", "gpt2"])
def test_other_architectures_convert(tmp_path: Path, architecture: str) -> None:
    """Windows and learned positions come through."""
    source = write_model(tmp_path / "source", small_model(architecture, vocab_size=WIDTH))
    convert(Path(source), tmp_path / "ir", WeightFormat.parse("original"), _silent)
    expected = _torch_logits(source)
    assert (_logits(tmp_path / "ir") - expected).abs().max() <= 1e-3 * expected.std()


def test_nothing_is_printed(tiny_pair: tuple[str, str], tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Standard output may be a pipe that carries events; bars and warnings of the libraries have no place there."""
    convert(Path(tiny_pair[1]), tmp_path / "ir", WeightFormat.parse("int8"), _silent)
    assert capfd.readouterr() == ("", "")


def test_no_usage_figures_are_sent(tiny_pair: tuple[str, str], tmp_path: Path) -> None:
    """OpenVINO and NNCF would create a client id and send events; a conversion leaves nothing outside its folder."""
    home = tmp_path / "home"
    home.mkdir()
    code = (
        "import sys; from pathlib import Path; from fastdraft_core.runtimes.openvino.conversion import WeightFormat, convert;"
        "convert(Path(sys.argv[1]), Path(sys.argv[2]), WeightFormat.parse('int8'), print);"
        "assert sys.modules['openvino_telemetry'] is None"
    )
    arguments = [sys.executable, "-c", code, tiny_pair[1], str(tmp_path / "ir")]
    ended = subprocess.run(
        arguments, env=os.environ | {"HOME": str(home)}, capture_output=True, text=True, check=False, timeout=300
    )
    assert ended.returncode == 0, ended.stderr
    assert not [path for path in home.rglob("*") if "telemetry" in path.name or "ga_cid" in path.name]


# --- whole or not at all ---------------------------------------------------------------------------------


def test_an_interrupted_conversion_leaves_nothing(tiny_pair: tuple[str, str], tmp_path: Path) -> None:
    """Ctrl-C in any step: neither the folder nor its building site is there, and the next try works."""

    def interrupt(step: str) -> None:
        if "converting" in step:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(Path(tiny_pair[0]), tmp_path / "ir", WeightFormat.parse("original"), interrupt)
    assert not list(tmp_path.iterdir())
    convert(Path(tiny_pair[0]), tmp_path / "ir", WeightFormat.parse("original"), _silent)
    assert [path.name for path in tmp_path.iterdir()] == ["ir"]


def test_what_a_killed_conversion_left_is_removed(tiny_pair: tuple[str, str], tmp_path: Path) -> None:
    """A kill cannot clean up; the next conversion does, but leaves a living process's site alone."""
    dead, alive = tmp_path / "ir.building-999999999", tmp_path / f"ir.building-{os.getppid()}"
    for folder in (dead, alive):
        folder.mkdir()
        (folder / "openvino_model.bin").write_bytes(b"half")
    convert(Path(tiny_pair[0]), tmp_path / "ir", WeightFormat.parse("original"), _silent)
    assert not dead.exists()
    assert alive.exists()


def test_a_folder_in_use_is_not_touched(tiny_pair: tuple[str, str], tmp_path: Path) -> None:
    """An existing folder with files in it is refused before anything is loaded; an empty one is used."""
    output = tmp_path / "ir"
    output.mkdir()
    (output / "notes.txt").write_text("mine")
    with pytest.raises(FastdraftError, match="not empty"):
        convert(Path(tiny_pair[0]), output, WeightFormat.parse("original"), _silent)
    assert [path.name for path in output.iterdir()] == ["notes.txt"]
    (output / "notes.txt").unlink()
    convert(Path(tiny_pair[0]), output, WeightFormat.parse("original"), _silent)
    assert is_ir(output)


def test_a_full_disk_is_said_before_the_work(
    tiny_pair: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The needed and the free space are in the message, and nothing is left."""
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=1000))
    with pytest.raises(FastdraftError, match="GB are free"):
        convert(Path(tiny_pair[0]), tmp_path / "ir", WeightFormat.parse("int8"), _silent)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_one_sentence(tiny_pair: tuple[str, str], tmp_path: Path) -> None:
    """The parent is a file."""
    (tmp_path / "file").write_text("")
    with pytest.raises(FastdraftError, match="cannot be written"):
        convert(Path(tiny_pair[0]), tmp_path / "file" / "ir", WeightFormat.parse("int8"), _silent)


def test_damaged_weights_are_refused(tiny_pair: tuple[str, str], tmp_path: Path) -> None:
    """A truncated file is named; no output appears."""
    import shutil

    source = tmp_path / "source"
    shutil.copytree(tiny_pair[0], source)
    file = source / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(FastdraftError, match="truncated or damaged"):
        convert(source, tmp_path / "ir", WeightFormat.parse("int8"), _silent)
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_an_unknown_architecture_is_named(tmp_path: Path) -> None:
    """What optimum-intel has no export for runs on torch, and the message says so."""
    source = write_model(tmp_path / "source", small_model("gemma2", vocab_size=WIDTH))
    with pytest.raises(FastdraftError, match=r"gemma2.*--runtime torch"):
        convert(Path(source), tmp_path / "ir", WeightFormat.parse("original"), _silent)
    assert not (tmp_path / "ir").exists()
