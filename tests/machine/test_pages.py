"""Freed memory is used again without asking the system for it."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

_FAULTS = """
import resource
import torch
from fastdraft_core.machine.pages import keep_pages
{call}
for _ in range(30):
    torch.ones(1 << 24)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    torch.ones(1 << 24)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(call: str) -> int:
    done = subprocess.run([sys.executable, "-c", _FAULTS.format(call=call)], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another allocator")
def test_a_tensor_of_the_next_step_takes_the_place_of_the_last_ones() -> None:
    """64 MB made and freed again and again: at last no page is fetched any more, and without the call they all are."""
    assert faults("keep_pages()") < 100
    assert faults("") > 1000
