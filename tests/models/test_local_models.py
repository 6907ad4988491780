"""The shelf: what is here, read from files alone, and what fits what, by tokens and not by names."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from fastdraft_core import places
from fastdraft_core.errors import FastdraftError
from fastdraft_core.models.folders import check_weights
from fastdraft_core.models.local_models import ShelfModel, delete, drafts_for, memory, shelf, targets_for, vocabulary
from fastdraft_core.models.weights import count_parameters, is_ir, is_ir_alone, weight_files


def write(folder: Path, tokens: dict[str, int] | None, weights: int = 100, name: str = "LlamaForCausalLM") -> Path:
    """A model folder with one weight table of ``weights`` entries and a tokenizer of these tokens."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"architectures": [name], "vocab_size": 300}))
    header = json.dumps(
        {"w": {"dtype": "BF16", "shape": [weights // 10, 10], "data_offsets": [0, 2 * weights]}}
    ).encode()
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(2 * weights))
    if tokens is not None:
        (folder / "tokenizer.json").write_text(json.dumps({"model": {"type": "BPE", "vocab": tokens}}))
    return folder


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, ShelfModel]:
    """A target, a draft with its tokens, one with two tokens swapped under the target's name, and a broken one."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "no-hub"))
    monkeypatch.setattr(places, "assets", lambda: tmp_path / "no-assets")
    here = tmp_path / "models"
    write(here / "target", {"a": 0, "b": 1, "c": 2}, 1000)
    write(here / "small", {"c": 2, "b": 1, "a": 0})
    write(here / "target-draft", {"b": 0, "a": 1, "c": 2})
    (write(here / "broken", None) / "model.safetensors").write_bytes(b"\xff" * 40)
    garbled = write(here / "garbled", None) / "model.safetensors"
    garbled.write_bytes(garbled.read_bytes().replace(b"dtype", b"dtyp\xff"))
    write(places.exports() / "small-int8-ov", {"a": 0, "b": 1, "c": 2}, 50)
    return {Path(model.name).name: model for model in shelf([here])}


def test_a_draft_fits_by_its_tokens(models: dict[str, ShelfModel]) -> None:
    """Swapped ids under a fitting name and size are refused; equal tokens under another name fit."""
    listed = list(models.values())
    assert [m.folder.name for m in drafts_for(models["target"], listed)] == ["small-int8-ov", "small"]
    assert [m.folder.name for m in targets_for(models["small"], listed)] == ["target"]
    assert drafts_for(models["target-draft"], listed) == targets_for(models["target-draft"], listed) == []
    assert drafts_for(models["broken"], listed) == []


def write_ir(folder: Path, tokens: dict[str, int], rows: int, columns: int) -> Path:
    """An int8 IR with a table of weights, its scales and zero points, a norm, indices, and the table used twice."""
    folder.mkdir(parents=True)
    constants = [
        ("u8", f"{rows}, {columns}", 0), ("u8", f"{rows}, 1", 1), ("f16", f"{rows}, 1", 2), ("f32", f"1, 1, {columns}", 3),
        ("i64", "3", 4), ("u8", f"{rows}, {columns}", 0), ("f32", "", 5),
    ]  # fmt: skip
    layers = (
        f'<layer type="Const"><data element_type="{kind}" shape="{shape}" offset="{place}" size="9" /></layer>'
        for kind, shape, place in constants
    )
    (folder / "openvino_model.xml").write_text(f"<net>{''.join(layers)}</net>")
    (folder / "openvino_model.bin").write_bytes(bytes(rows * columns))
    (folder / "config.json").write_text(json.dumps({"architectures": ["LlamaForCausalLM"], "vocab_size": rows}))
    (folder / "tokenizer.json").write_text(json.dumps({"model": {"type": "BPE", "vocab": tokens}}))
    return folder


def test_an_ir_is_weighed_by_parameters_and_never_drafts_for_its_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An int8 file has half the bytes of its bfloat16 source and as many parameters: it is the same model, no draft."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "no-hub"))
    monkeypatch.setattr(places, "assets", lambda: tmp_path / "no-assets")
    tokens = {"a": 0, "b": 1}
    source = write(tmp_path / "models" / "target", tokens, 1000)
    write_ir(places.exports() / "target-int8-ov", tokens, 100, 10)
    write_ir(places.exports() / "draft-int8-ov", tokens, 20, 10)
    models = {model.folder.name: model for model in shelf([source.parent])}
    ir, draft = models["target-int8-ov"], models["draft-int8-ov"]
    assert (ir.parameters, draft.parameters) == (1010, 210)
    assert memory(ir)["bf16"] == 2020
    for target in (models["target"], ir):
        assert [one.folder.name for one in drafts_for(target, models.values())] == ["draft-int8-ov"]
    assert [one.folder.name for one in targets_for(draft, models.values())] == ["target-int8-ov", "target"]


def test_an_ir_is_told_from_its_source(tmp_path: Path) -> None:
    """Wizard, loading and conversion ask the same: is there an IR, whole, and is it all that there is?"""
    folder = write_ir(tmp_path / "ir", {"a": 0, "b": 1}, 20, 10)
    assert (is_ir(folder), is_ir_alone(folder)) == (True, True)
    (folder / "model.safetensors").touch()
    assert (is_ir(folder), is_ir_alone(folder)) == (True, False)
    (folder / "model.safetensors").unlink()
    (folder / "openvino_model.bin").unlink()
    assert (is_ir(folder), is_ir_alone(folder)) == (False, False)


def test_figures_come_from_the_files(models: dict[str, ShelfModel]) -> None:
    """Parameters are those of the weights' headers; where they are broken, nothing is guessed."""
    assert models["target"].parameters == 1000
    assert memory(models["target"])["int8"] == 1000
    for name in ("broken", "garbled"):
        assert models[name].parameters is None
        assert memory(models[name]) == {}


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '{"model": 3}', '{"model": {"vocab": [[]]}}', '{"model": {"vocab": {}}, "added_tokens": [1]}'],
)
def test_a_foreign_tokenizer_is_unknown_and_not_fatal(tmp_path: Path, text: str) -> None:
    """A file that is no tokenizer of ours leaves the question open."""
    (tmp_path / "tokenizer.json").write_text(text)
    assert vocabulary(tmp_path) == {}


def test_unigram_and_added_tokens_are_read(tmp_path: Path) -> None:
    """Lists of pieces number them by place; added tokens take their ids."""
    data = {"model": {"vocab": [["<unk>", 0.0], ["a", -1.0]]}, "added_tokens": [{"id": 2, "content": "<end>"}]}
    (tmp_path / "tokenizer.json").write_text(json.dumps(data))
    assert vocabulary(tmp_path) == {0: "<unk>", 1: "a", 2: "<end>"}


def test_only_what_is_ours_is_deleted(models: dict[str, ShelfModel]) -> None:
    """A user's own folder stays; an export goes."""
    with pytest.raises(FastdraftError, match="it is yours"):
        delete(models["small"])
    assert models["small"].folder.is_dir()
    delete(models["small-int8-ov"])
    assert not models["small-int8-ov"].folder.exists()


def test_weights_that_lie_there_twice_count_once(tmp_path: Path) -> None:
    """Mistral's folders hold them a second time as consolidated.safetensors; an old index may lie beside a newer whole file."""
    folder = write(tmp_path / "model", {"a": 0}, 900)
    whole = folder / "model.safetensors"
    count = count_parameters(folder)
    for name in ("consolidated.safetensors", "adapter_model.safetensors", "model-00001-of-00002.safetensors"):
        shutil.copy(whole, folder / name)
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert count_parameters(folder) == count
    assert check_weights(folder).total() == count
    whole.unlink()
    assert [file.name for file in weight_files(folder)] == ["model-00001-of-00002.safetensors"]
