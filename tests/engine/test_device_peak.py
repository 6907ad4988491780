"""The memory of a device besides the CPU is measured by the same passes, here on the CPU in its place, and kept."""

from __future__ import annotations

import pytest

from fastdraft_core.engine import device_peak as module
from fastdraft_core.engine.device_peak import device_peak
from fastdraft_core.machine.bandwidth import describe_rate, kept_device_peak
from tests.decoding.table import card


@pytest.mark.parametrize("runtime", ["torch", "openvino"])
def test_it_is_measured_once_and_kept(runtime: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rate that a memory can have; asked again it is the very same, and nothing is read."""
    found = device_peak(runtime, "cpu", num_bytes=32 << 20)
    assert 0.05 < found < 10_000
    monkeypatch.setattr(module, "_torch_kernels", None)
    monkeypatch.setattr(module, "_openvino_kernels", None)
    assert device_peak(runtime, "cpu") == pytest.approx(found, abs=0.01)
    assert kept_device_peak(f"{runtime} cuda:0") is None


def test_a_rate_on_a_device_is_a_share_of_its_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an unknown device nothing is said."""
    monkeypatch.setattr(module, "_torch_kernels", lambda device, rows: [lambda: None])
    monkeypatch.setattr(module, "_seconds", lambda kernel: (256 << 20) / 500e9)
    assert describe_rate(250, card(device="cuda:0"), None, 1) == ""
    assert device_peak("torch", "cuda:0") == pytest.approx(500)
    assert describe_rate(250, card(device="cuda:0"), None, 1) == "50% of the measured peak"
