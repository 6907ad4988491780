"""IR folders as users have them: ready ones run, damaged ones are one sentence, and the card says what is read."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from fastdraft_core.errors import FastdraftError
from fastdraft_core.machine import limits
from fastdraft_core.runtimes.base import Runtime
from fastdraft_core.runtimes.openvino import loading
from fastdraft_core.runtimes.openvino.loading import OpenVinoOptions, choose_openvino_device, load_ir
from tests.runtimes.every import EXACT, ir_folder
from tests.runtimes.models import VOCABULARY, small_model, uncached_logits

IDS = list(range(3, 43))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A ready IR folder that a test may damage."""
    return Path(shutil.copytree(ir_folder(small_model("llama")), tmp_path / "ir"))


def load(folder: Path, options: OpenVinoOptions = EXACT, *, paged: bool = True) -> Runtime:
    return load_ir(folder, "my-model", VOCABULARY, options, paged=paged)


def test_the_card_counts_what_a_token_reads(folder: Path) -> None:
    """Pitfall 23: weights at the precision that really runs, without the table of which a token reads one row."""
    runtime, model = load(folder), small_model("llama")
    parameters = sum(p.numel() for p in model.parameters())
    # Norms of an untrained model are ones, which vanish in the conversion.
    assert runtime.card.parameters == pytest.approx(parameters, rel=0.01)
    assert runtime.card.weight_bytes == pytest.approx(4 * (parameters - VOCABULARY * 32), rel=0.02)
    # 2 layers, 2 key-value heads of 8, keys and values, float32.
    assert runtime.kv_bytes_per_token == 2 * 2 * 2 * 8 * 4
    assert (runtime.card.dtype, runtime.card.compute, runtime.card.kv_dtype) == ("float32", "float32", "float32")
    assert runtime.card.device == "cpu"


@pytest.mark.parametrize(("precision", "share"), [("f32", 1.0), ("f16", 0.5), ("u8", 0.25)])
def test_keys_and_values_are_kept_as_asked(folder: Path, precision: str, share: float) -> None:
    """The card and the bytes a token of context costs follow ``--kv-precision``; logits stay near the exact ones."""
    runtime = load(folder, OpenVinoOptions(dtype="float32", kv_precision=precision))
    exact = load(folder)
    # Eight bits need room for scales beside.
    assert share <= runtime.kv_bytes_per_token / exact.kv_bytes_per_token <= (3 if precision == "u8" else 1) * share
    assert torch.allclose(runtime.prefill(IDS), exact.prefill(IDS), atol=0.5)


@pytest.mark.parametrize("paged", [True, False])
def test_logits_belong_to_the_caller(folder: Path, paged: bool) -> None:
    """A later pass, a rewind or a longer prompt changes no logits that were handed out."""
    runtime = load(folder, paged=paged)
    first = runtime.forward(IDS[:4])
    kept = first.clone()
    runtime.forward(IDS[4:8])
    runtime.rewind(2)
    runtime.forward(IDS[:4])
    assert torch.equal(first, kept)


@pytest.mark.parametrize("paged", [True, False])
def test_a_cache_that_outgrows_its_memory_keeps_what_it_has(paged: bool) -> None:
    """Past the room that was made first, entries move along: token by token through the whole context."""
    model = small_model("llama", max_position_embeddings=1100)
    ids = np.random.default_rng(0).integers(3, VOCABULARY, 1100).tolist()
    runtime = load_ir(ir_folder(model), "long", VOCABULARY, EXACT, paged=paged)
    runtime.prefill(ids[:500])
    found = torch.cat([runtime.forward(ids[i : i + 50]) for i in range(500, 1100, 50)])
    assert torch.allclose(found, uncached_logits(model, ids)[500:], atol=2e-4)


def test_many_rejections_do_not_fill_the_cache() -> None:
    """Holes are cut out when they are too many: after 400 rejected tokens the logits are still a fresh model's."""
    model = small_model("llama")
    runtime = load_ir(ir_folder(model), "holes", VOCABULARY, EXACT, paged=False)
    runtime.prefill(IDS[:5])
    for _ in range(100):
        runtime.forward([7, 8, 9, 10])
        runtime.rewind(5)
    assert torch.allclose(runtime.forward(IDS[5:9]), uncached_logits(model, IDS[:9])[5:], atol=2e-4)


@pytest.mark.parametrize("precision", ["f32", "f16", "u8", "u4"])
def test_rejected_tokens_leave_no_trace(precision: str) -> None:
    """Pitfall 8: whatever keys and values are kept as, logits after a rewind are to the bit those without it."""
    ids = np.random.default_rng(0).integers(3, VOCABULARY, 620).tolist()
    folder = ir_folder(small_model("llama", max_position_embeddings=1100))
    runtime = load_ir(folder, "long", VOCABULARY, OpenVinoOptions(dtype="float32", kv_precision=precision))
    texts = []
    for rejected in (0, 9):
        runtime.prefill(ids[:20])
        rows = []
        for i in range(20, len(ids), 50):
            rows.append(runtime.forward(ids[i : i + 50]))
            if rejected:
                runtime.forward([4] * rejected)
                runtime.rewind(i + 50)
        texts.append(torch.cat(rows))
    assert torch.equal(*texts)


# --- what cannot run ---------------------------------------------------------------------------------


def test_a_missing_device_names_those_that_are_there() -> None:
    """One sentence, with what could be typed instead."""
    with pytest.raises(FastdraftError, match=r"no device 'gpu\.7' here\. Use one of: .*cpu"):
        choose_openvino_device("gpu.7")
    assert choose_openvino_device("CPU") == choose_openvino_device() == "cpu"


def _half_a_graph(folder: Path) -> None:
    text = (folder / "openvino_model.xml").read_text(encoding="utf-8")
    (folder / "openvino_model.xml").write_text(text[: len(text) // 2], encoding="utf-8")


def _half_the_weights(folder: Path) -> None:
    whole = (folder / "openvino_model.bin").read_bytes()
    (folder / "openvino_model.bin").write_bytes(whole[: len(whole) // 2])


def _broken_config(folder: Path) -> None:
    (folder / "config.json").write_text("{", encoding="utf-8")


def _recurrent(folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps({"model_type": "mamba"}), encoding="utf-8")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (_half_a_graph, "truncated or damaged"),
        (_half_the_weights, "truncated or damaged"),
        (_broken_config, r"config\.json"),
        (_recurrent, r"\(mamba\) has .*running state"),
    ],
)
def test_a_damaged_folder_is_one_clear_sentence(folder: Path, damage: Callable[[Path], None], words: str) -> None:
    """No traceback and no crash of the process, whatever half a download left."""
    damage(folder)
    with pytest.raises(FastdraftError, match=words) as refusal:
        load(folder)
    assert "\n" not in refusal.value.message


def test_too_little_memory_is_said_before_loading(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names what is needed and what is free to a container as well, instead of a process that is killed."""
    monkeypatch.setattr(limits, "memory", lambda: (1 << 40, 100 << 20))
    with pytest.raises(FastdraftError, match=r"needs 0\.3 GB of memory and 0\.1 GB are free"):
        load(folder)


def test_one_thread_does_not_end_the_process(tmp_path: Path) -> None:
    """OpenVINO 2026.4 divides by zero where it compiles bfloat16 for one thread and there is AMX: such a pair runs in float32."""
    code = """
import sys
from fastdraft_core.engine.load_options import LoadOptions
from fastdraft_core.engine.pair import load_pair
print(load_pair("demo", "demo:XS", LoadOptions(runtime="openvino", threads=1)).encode("def"))
"""
    environment = os.environ | {"FASTDRAFT_HOME": str(tmp_path)}
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert found.returncode == 0, found.stderr


def test_bfloat16_on_one_thread_is_refused_where_it_would_end_the_process(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever asks for it is told why not and what to do; a second thread or another format runs."""
    monkeypatch.setattr(loading, "has_amx", lambda: True)
    with pytest.raises(FastdraftError, match=r"one thread.*--dtype float32"):
        load(folder, OpenVinoOptions(dtype="bfloat16", threads=1))
    monkeypatch.setattr(loading, "choose_dtype", lambda device, asked: asked or "bfloat16")
    assert load(folder, OpenVinoOptions(threads=1)).card.compute == "float32"


def test_a_narrow_model_does_not_end_the_process(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenVINO 2026.4 dies where two threads share 32 columns in bfloat16 with AMX: such a model computes in float32."""
    monkeypatch.setattr(loading, "has_amx", lambda: True)
    monkeypatch.setattr(loading, "choose_dtype", lambda device, asked: asked or "bfloat16")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"intermediate_size": 32}))
    assert load(folder, OpenVinoOptions(threads=2)).card.compute == "float32"
