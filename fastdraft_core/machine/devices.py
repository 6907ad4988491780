"""Gaudi (hpu), CUDA, XPU and CPU: detect, describe, choose.

Importing this module loads no torch; the functions that need it load it when called.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import importlib.util
import os
import platform
import sys
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import msgspec

import fastdraft_core
from fastdraft_core.errors import FastdraftError
from fastdraft_core.events import Machine
from fastdraft_core.machine.bandwidth import Bandwidth, measured_peak_bandwidth
from fastdraft_core.machine.cpu import (
    Cpu,
    cpu_name,
    describe_cpu,
    last_level_cache,
    logical_cores,
    native_bf16,
    physical_cores,
)
from fastdraft_core.machine.limits import memory

if TYPE_CHECKING:
    import torch

__all__ = [
    "Bandwidth",
    "Cpu",
    "Device",
    "MachineCard",
    "choose_device",
    "choose_dtype",
    "choose_threads",
    "describe_cpu",
    "detect_devices",
    "gaudi_problem",
    "library_versions",
    "machine_card",
    "measured_peak_bandwidth",
    "prepare_gaudi",
    "synchronize",
    "this_machine",
]

#: Best first: what a run takes when nobody chooses.
KINDS = ("hpu", "cuda", "xpu", "cpu")
DTYPES = ("bfloat16", "float16", "float32")
_LIBRARIES = ("torch", "transformers", "openvino", "optimum-intel", "accelerate", "tokenizers")


class Device(msgspec.Struct, frozen=True, kw_only=True):
    """One device that torch can compute on. ``memory`` is its own in bytes, absent if not told."""

    kind: str
    index: int
    name: str
    memory: int | None = None

    @property
    def torch_name(self) -> str:
        """What ``torch.device`` takes, such as ``cuda:0``; the CPU has no index."""
        return self.kind if self.kind == "cpu" else f"{self.kind}:{self.index}"


class MachineCard(Machine, frozen=True, kw_only=True):
    """The machine and software that a benchmark's figures belong to. Memory and cache in bytes.

    ``threads`` is what fastdraft computes with.
    """

    threads: int
    last_level_cache: int | None
    bf16: bool
    devices: list[Device]


def detect_devices() -> list[Device]:
    """Every usable device, best first; the CPU is always the last."""
    return [*_gaudi(), *_torch_devices("cuda"), *_torch_devices("xpu"), _cpu()]


def choose_device(name: str = "") -> str:
    """The best device's torch name, or ``name`` (``cuda``, ``cuda:1``) when such a device is there.

    Raises:
        FastdraftError: no device of that name works here; the message lists those that do.
    """
    devices = detect_devices()
    if not name:
        return devices[0].torch_name
    for device in devices:
        if name in (device.kind, device.torch_name):
            return device.torch_name
    problem = gaudi_problem() if name.startswith("hpu") else None
    present = ", ".join(d.torch_name for d in devices)
    raise FastdraftError(problem or f"There is no device {name!r} here. Use one of: {present}.")


def choose_dtype(device: str = "cpu", asked: str = "") -> str:
    """The number format's torch name, such as ``bfloat16``: what the device does well, or as asked.

    bfloat16 where it is native. Otherwise float16 on CUDA and float32 on a CPU, where half formats
    are emulated and slower.

    Raises:
        FastdraftError: ``asked`` is not one of bfloat16, float16 and float32.
    """
    if asked:
        if asked not in DTYPES:
            raise FastdraftError(f"Unknown dtype {asked!r}. Use one of: {', '.join(DTYPES)}.")
        return asked
    kind = device.partition(":")[0]
    if kind == "cpu":
        return "bfloat16" if native_bf16() else "float32"
    if kind == "cuda":
        import torch

        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float16"
    return "bfloat16"


def choose_threads(asked: int = 0) -> int:
    """Threads to compute with: ``asked``, else ``OMP_NUM_THREADS``, else one a physical core.

    Never more than the cores that affinity and the container's quota leave to this process, unless
    somebody asks for them.
    """
    if asked > 0:
        return asked
    # OpenMP allows a list, one number a nesting level.
    wanted = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return int(wanted) if wanted.isdigit() and int(wanted) > 0 else physical_cores()


def gaudi_problem() -> str | None:
    """Why Gaudi's software is installed and yet no Gaudi device can be used; None if all is well."""
    if not _has_gaudi_software():
        return None
    try:
        torch = _gaudi_torch()
        if torch.hpu.is_available() and torch.hpu.device_count() > 0:
            return None
    except Exception as error:
        return f"Gaudi's software is installed but cannot be loaded ({type(error).__name__}: {error})."
    return "Gaudi's software is installed but finds no device. Check `hl-smi` and whether another process holds it."


def prepare_gaudi() -> None:
    """Load Gaudi's bridge in eager mode, before anything asks torch for ``hpu``; nothing where it is not installed."""
    if _has_gaudi_software() and gaudi_problem() is None:
        _gaudi_torch()


def synchronize(device: torch.device) -> None:
    """Wait until ``device`` has done what it was given; a CPU has."""
    if device.type == "cpu":
        return
    import torch

    backend: Any = getattr(torch, device.type)
    # Gaudi has one device a process, and its function takes none.
    backend.synchronize(*([] if device.type == "hpu" else [device]))


def library_versions() -> dict[str, str]:
    """Installed versions of the model libraries, read without importing them."""
    return {name: _version(name) for name in _LIBRARIES}


def this_machine() -> Machine:
    """This machine, for the header of a recording; loads no model library."""
    return Machine(
        fastdraft=fastdraft_core.__version__,
        python=platform.python_version(),
        versions=library_versions(),
        os=platform.platform(),
        cpu=cpu_name(),
        physical_cores=physical_cores(),
        logical_cores=logical_cores(),
        memory_total=memory()[0],
    )


def machine_card() -> MachineCard:
    """This machine, for the JSON of every benchmark."""
    return MachineCard(
        **msgspec.structs.asdict(this_machine()),
        threads=choose_threads(),
        last_level_cache=last_level_cache(),
        bf16=native_bf16(),
        devices=detect_devices(),
    )


def _cpu() -> Device:
    return Device(kind="cpu", index=0, name=cpu_name(), memory=memory()[0])


def _has_gaudi_software() -> bool:
    # The parent first: asking for a missing parent's child raises.
    for module in ("habana_frameworks", "habana_frameworks.torch"):
        try:
            if importlib.util.find_spec(module) is None:
                return False
        except (ImportError, ValueError):
            return module in sys.modules
    return True


def _gaudi_torch() -> Any:
    """Torch with ``torch.hpu``, which exists only after Habana's bridge was imported."""
    import torch

    # The bridge reads this once, at its import. Lazy mode is legacy, and torch.compile needs eager.
    os.environ["PT_HPU_LAZY_MODE"] = "0"

    importlib.import_module("habana_frameworks.torch")
    return torch


def _gaudi() -> Iterator[Device]:
    if not _has_gaudi_software() or gaudi_problem() is not None:
        return
    hpu = _gaudi_torch().hpu
    for index in range(hpu.device_count()):
        yield Device(kind="hpu", index=index, name=str(hpu.get_device_name(index)), memory=_memory_of(hpu, index))


def _torch_devices(kind: str) -> Iterator[Device]:
    import torch

    backend: Any = getattr(torch, kind, None)
    with warnings.catch_warnings():
        # A driver that is too old warns here; the device is then simply not listed.
        warnings.simplefilter("ignore")
        count = backend.device_count() if backend is not None and backend.is_available() else 0
    for index in range(count):
        yield Device(kind=kind, index=index, name=backend.get_device_name(index), memory=_memory_of(backend, index))


def _memory_of(backend: Any, index: int) -> int | None:
    """The device's own memory in bytes; Gaudi tells it by ``mem_get_info`` alone."""
    for ask in (lambda: backend.get_device_properties(index).total_memory, lambda: backend.mem_get_info(index)[1]):
        with contextlib.suppress(AttributeError, RuntimeError, TypeError):
            return int(ask())
    return None


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "absent"
