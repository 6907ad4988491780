"""Which device a job occupies: by its name over the whole machine, found without a model library here."""

from __future__ import annotations

import pytest

from fastdraft_core.errors import FastdraftError
from fastdraft_core.jobs import device


@pytest.mark.parametrize(
    ("name", "environment", "expected"),
    [
        ("cpu", {"CUDA_VISIBLE_DEVICES": "3"}, "cpu"),
        ("cuda:1", {}, "cuda:1"),
        ("cuda:1", {"CUDA_VISIBLE_DEVICES": "2, 5"}, "cuda:5"),
        ("cuda:0", {"CUDA_VISIBLE_DEVICES": "GPU-8932f937"}, "cuda:GPU-8932f937"),
        ("xpu:0", {"ZE_AFFINITY_MASK": "1"}, "xpu:1"),
        ("hpu:0", {"HABANA_VISIBLE_MODULES": "4,6"}, "hpu:4"),
    ],
)
def test_a_device_has_one_name_on_the_machine(name: str, environment: dict[str, str], expected: str) -> None:
    """Two terminals with different CUDA_VISIBLE_DEVICES both say cuda:0 and mean two devices, which must not queue."""
    assert device.machine_wide(name, environment) == expected
    # Taking it shows it alone, so that it is the first one there, and still itself.
    device.occupy(expected, environment)
    kind, _, index = expected.partition(":")
    assert device.machine_wide(f"{kind}:0" if index else kind, environment) == expected


def test_a_job_on_the_cpu_sees_no_accelerator() -> None:
    """Torch would otherwise take the first GPU, which another job may occupy."""
    environment: dict[str, str] = {}
    device.occupy("cpu", environment)
    assert environment == {"ACCELERATE_USE_CPU": "true", "CUDA_VISIBLE_DEVICES": ""}


def test_an_absent_device_is_refused_by_name() -> None:
    """A job must not train on the CPU because a GPU's number was mistyped."""
    with pytest.raises(FastdraftError, match=r"no device 'cuda:77' here. Use one of: .*cpu"):
        device.look_up("cuda:77")
