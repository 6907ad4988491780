"""The target on OpenVINO writes for FT: the same rows as on PyTorch, by a process that nothing else depends on."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

from fastdraft_core.data import writers
from fastdraft_core.data.generation import Batch, continue_batch, continue_pages
from fastdraft_core.data.openvino_writer import openvino_writer
from fastdraft_core.data.sparse import sparse_rows
from fastdraft_core.data.writers import choose_engine
from fastdraft_core.errors import FastdraftError
from fastdraft_core.runtimes.openvino.batch import PagedBatch
from fastdraft_core.runtimes.openvino.ir_cache import ir_of
from fastdraft_core.runtimes.openvino.loading import OpenVinoOptions, load_batch
from tests.folders import WIDTH, tiny_target, write_tiny_pair

#: The cache has pages of 32 tokens: some prompts are longer, some end on one, some texts cross one.
LENGTHS = (3, 30, 40, 9, 64, 32)
NEW = 40


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(write_tiny_pair(tmp_path_factory.mktemp("pair"))[0])


@pytest.fixture(scope="module")
def batch(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> PagedBatch:
    """In float32, so that rounding decides nothing."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FASTDRAFT_HOME", str(tmp_path_factory.mktemp("home")))
        ir = ir_of(folder, "tiny", "", print)
    return load_batch(ir, "tiny", OpenVinoOptions(dtype="float32"))


def prompts(lengths: tuple[int, ...] = LENGTHS) -> list[list[int]]:
    rng = np.random.default_rng(1)
    return [rng.integers(3, WIDTH, length).tolist() for length in lengths]


def test_rows_of_all_lengths_are_what_pytorch_writes(batch: PagedBatch) -> None:
    """Pitfall 10: neighbours change nothing, whatever their lengths, and a second batch sees nothing of the first."""
    greedy = np.zeros(len(LENGTHS))
    ours = continue_batch(tiny_target(), Batch(prompts(), greedy, NEW, set(), 1)).rows
    assert continue_pages(batch, Batch(prompts(), greedy, NEW, set(), 1)).rows == ours
    turned = continue_pages(batch, Batch(prompts()[::-1], greedy, NEW, set(), 1)).rows
    assert turned == ours[::-1]
    assert continue_pages(batch, Batch(prompts()[1:2], greedy[:1], NEW, set(), 1)).rows == ours[1:2]


def test_each_row_ends_at_its_own_stop(batch: PagedBatch) -> None:
    """Rows that ended are dropped at once; those that go on stay what they are."""
    greedy = np.zeros(len(LENGTHS))
    whole = continue_pages(batch, Batch(prompts(), greedy, NEW, set(), 1)).rows
    stops = {row[length + 5 + 3 * n] for n, (row, length) in enumerate(zip(whole, LENGTHS, strict=True)) if n != 2}
    cut = continue_pages(batch, Batch(prompts(), greedy, NEW, stops, 1)).rows
    for row, full, length in zip(cut, whole, LENGTHS, strict=True):
        end = next((n + 1 for n, token in enumerate(full) if n >= length and token in stops), len(full))
        assert row == full[:end]
    assert cut == continue_batch(tiny_target(), Batch(prompts(), greedy, NEW, stops, 1)).rows
    assert any(len(row) < len(full) for row, full in zip(cut, whole, strict=True))


def test_a_long_batch_of_prompts_is_read_in_parts(batch: PagedBatch, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a pass over prompts keeps is bounded, and the rows do not know."""
    greedy = np.zeros(len(LENGTHS))
    whole = continue_pages(batch, Batch(prompts(), greedy, 8, set(), 1)).rows
    monkeypatch.setattr("fastdraft_core.data.generation._READ_TOKENS", 50)
    assert continue_pages(batch, Batch(prompts(), greedy, 8, set(), 1)).rows == whole


def test_sampled_rows_follow_their_temperature_and_the_seed(batch: PagedBatch) -> None:
    """Greedy rows beside sampled ones stay greedy; the same seed writes the same."""
    same = [prompts((20,))[0]] * 3
    heat = np.array([0.0, 1.0, 1.0])
    rows = continue_pages(batch, Batch(same, heat, 20, set(), 3)).rows
    assert rows == continue_pages(batch, Batch(same, heat, 20, set(), 3)).rows
    assert rows[0] == continue_batch(tiny_target(), Batch(same[:1], heat[:1], 20, set(), 9)).rows[0]
    assert len({tuple(row) for row in rows if row}) == 3
    assert rows[1:] != continue_pages(batch, Batch(same, heat, 20, set(), 4)).rows[1:]


def test_what_is_kept_is_what_pytorch_keeps(batch: PagedBatch) -> None:
    """One row a written token, of whatever temperature; the dropped and the reordered rows keep their own."""
    heat = np.array([0.0, 0.6, 1.0, 0.0, 0.0, 0.0])
    wanted = Batch(prompts(), heat, NEW, {7}, 1, vocab_size=WIDTH - 3, top_k=5)
    written = continue_pages(batch, wanted)
    model = tiny_target()
    for row, kept, length in zip(written.rows, written.sparse, LENGTHS, strict=True):
        assert row is not None
        logits = model(input_ids=torch.tensor([row])).logits[0, length - 1 : -1, : WIDTH - 3].detach()
        read = sparse_rows(logits, 5)
        assert len(kept.ids) == len(row) - length
        np.testing.assert_allclose(kept.log_probs, read.log_probs, atol=2e-2)
        assert (kept.ids == read.ids).mean() > 0.99
    assert continue_pages(batch, dataclasses.replace(wanted, top_k=0)) == (written.rows, [])


def test_ids_that_only_pad_the_logits_are_never_drawn(batch: PagedBatch) -> None:
    """The tokenizer knows fewer ids than the logits are wide."""
    rows = continue_pages(batch, Batch(prompts(), np.full(len(LENGTHS), 3.0), NEW, set(), 1, vocab_size=50)).rows
    assert max(max(row[length:]) for row, length in zip(rows, LENGTHS, strict=True) if row) < 50


def test_the_process_writes_and_ends_with_its_context(folder: Path) -> None:
    """The training process itself never loads OpenVINO."""
    with openvino_writer(folder, "tiny") as write:
        rows = write(Batch(prompts(), np.zeros(len(LENGTHS)), 8, set(), 1, vocab_size=WIDTH)).rows
        assert [len(row) for row in rows if row] == [length + 8 for length in LENGTHS]
        (child,) = _writing(psutil.Process())
    assert not child.is_running()


@pytest.mark.parametrize("gone", [True, False], ids=["before it is asked", "while it is asked"])
def test_a_process_that_is_killed_was_out_of_memory(folder: Path, gone: bool) -> None:
    """As the system does where memory is short; synthesis then says what to lower."""
    with openvino_writer(folder, "tiny") as write:
        (child,) = _writing(psutil.Process())
        child.kill()
        # Not waited for: how it ended is for its parent to hear.
        while gone and child.status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.01)
        with pytest.raises(MemoryError):
            write(Batch(prompts(), np.zeros(len(LENGTHS)), 8, set(), 1))


def test_what_is_no_model_is_a_sentence(tmp_path: Path) -> None:
    """The problem comes back from the process that met it."""
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama"}))
    with pytest.raises(FastdraftError), openvino_writer(tmp_path, "broken"):
        pass


_TRAINING = """
import sys
from pathlib import Path
import numpy as np
from fastdraft_core.data.generation import Batch
from fastdraft_core.data.openvino_writer import openvino_writer
from fastdraft_core.data.sparse import sparse_rows
if __name__ == "__main__":
    with openvino_writer(Path(sys.argv[1]), "tiny") as write:
        print("ready", "openvino" in sys.modules, flush=True)
        write(Batch([[5] * 8] * 64, np.ones(64), 140, set(), 1))
        sys.stdin.read()
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no kill -9 on this system")
def test_nothing_is_left_when_the_training_is_killed(folder: Path, tmp_path: Path) -> None:
    """kill -9 lets nobody clean up: the writing process finds its pipe closed and leaves by itself."""
    script = tmp_path / "training.py"
    script.write_text(_TRAINING)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    training = subprocess.Popen(
        [sys.executable, script, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )
    assert training.stdout is not None
    assert training.stdout.readline().split() == ["ready", "False"]
    (child,) = _writing(psutil.Process(training.pid))
    training.kill()
    training.wait()
    _, alive = psutil.wait_procs([child], timeout=60)
    assert not alive


def test_auto_is_openvino_on_a_cpu_unless_converting_takes_long(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits minutes unasked; other devices have PyTorch; what was asked for is asked for."""
    assert choose_engine("auto", "cpu", folder, "tiny") == "openvino"
    assert choose_engine("auto", "cuda", folder, "tiny") == "torch"
    assert choose_engine("torch", "cpu", folder, "tiny") == "torch"
    monkeypatch.setattr(writers, "takes_long", lambda *_: True)
    assert choose_engine("auto", "cpu", folder, "tiny") == "torch"
    assert choose_engine("openvino", "cpu", folder, "tiny") == "openvino"


def _writing(parent: psutil.Process) -> list[psutil.Process]:
    """The children that write; Python's own helper beside them ends by itself."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if found := [child for child in parent.children() if "spawn_main" in _command(child)]:
            return found
        time.sleep(0.05)
    return []


def _command(process: psutil.Process) -> str:
    # One that ended has none, and other tests may have left such children.
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""
