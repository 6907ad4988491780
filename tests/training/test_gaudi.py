"""Gaudi, against a stand-in of the documented ``torch.hpu``; nothing here has run on a real one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastdraft_core.training.loop import read_step
from fastdraft_core.training.processes import row_shares
from tests.training.tiny import tiny_run, tiny_stage

ROOT = Path(__file__).resolve().parents[2]
BRIDGE = """
import os, types, torch
MODE_AT_IMPORT = os.environ.get("PT_HPU_LAZY_MODE")
hpu = types.ModuleType("torch.hpu")
hpu.is_available = lambda: True
hpu.device_count = lambda: 8
hpu.current_device = lambda: 0
hpu.set_device = lambda device: None
hpu.get_device_name = lambda index=None: "GAUDI2"
hpu.mem_get_info = lambda index=None: (90 << 30, 96 << 30)
hpu.max_memory_allocated = lambda index=None: 3 << 30
hpu.synchronize = lambda: None
torch.hpu = hpu
"""
HCCL = """
import torch.distributed as dist
def make(store, rank, size, timeout):
    return dist.ProcessGroupGloo(store, rank, size, timeout)
dist.Backend.register_backend("hccl", make, devices=["hpu", "cpu"])
"""
PROGRAM = """
from fastdraft_core.training.processes import make_accelerator
accelerator = make_accelerator()
import habana_frameworks.torch as bridge, torch
from fastdraft_core.training.meter import used_memory
from fastdraft_core.training.processes import training_attention, training_dtype
device = accelerator.device
print(bridge.MODE_AT_IMPORT, device.type, torch.distributed.get_backend(), training_dtype("hpu"), used_memory(device) >> 30,
      training_attention(device, compiled=True))
"""


def test_a_run_on_gaudi_is_eager_over_hccl_in_bfloat16(tmp_path: Path) -> None:
    """`torchrun` on Gaudi: the bridge is loaded in eager mode whatever the environment says, and processes talk over hccl."""
    package = tmp_path / "habana_frameworks" / "torch"
    (package / "distributed").mkdir(parents=True)
    (tmp_path / "habana_frameworks" / "__init__.py").touch()
    (package / "__init__.py").write_text(BRIDGE)
    (package / "distributed" / "__init__.py").touch()
    (package / "distributed" / "hccl.py").write_text(HCCL)
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)]),
        "PT_HPU_LAZY_MODE": "1",
        "RANK": "0",
        "LOCAL_RANK": "0",
        "WORLD_SIZE": "1",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": "0",
    }
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split() == ["0", "hpu", "hccl", "torch.bfloat16", "3", "sdpa"]


@given(st.integers(1, 70), st.integers(1, 9), st.integers(1, 9))
def test_every_row_is_read_once_in_micro_batches_of_one_size(rows: int, world: int, micro_batch: int) -> None:
    """Gaudi compiles again for every new shape, and DDP waits for ever where one process has a micro-batch more."""
    shares = [row_shares(rows, world, rank, micro_batch) for rank in range(world)]
    assert sorted(n for ranges, _ in shares for share in ranges for n in share) == list(range(rows))
    assert len({(len(ranges), size) for ranges, size in shares}) == 1
    assert all(len(share) <= size <= micro_batch for ranges, size in shares for share in ranges)


@pytest.mark.parametrize("rank", [0, 1, 2])
def test_what_fills_a_micro_batch_up_counts_nothing(tmp_path: Path, rank: int) -> None:
    """Four rows over three processes: shapes are alike, and only the process's own rows are in the loss."""
    run = tiny_run(tmp_path, tiny_stage(micro_batch=2))

    class OneOfThree:
        num_processes, process_index, device = 3, rank, run.accelerator.device

    run.accelerator = OneOfThree()
    data = read_step(run, 1, 4)
    own = [1, 1, 2][rank]
    assert [tuple(batch.ids.shape) for batch in data.batches] == [(2, 17)]
    assert data.counted == own * 16
    assert data.batches[0].mask.any(1).tolist() == [True] * own + [False] * (2 - own)
