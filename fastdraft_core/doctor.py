"""What `fastdraft doctor` finds: versions, devices, memory, bandwidth, caches, logs, the bundled pair.

Data only; the command line prints it as a table or as JSON, the app's system screen draws it.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec

import fastdraft_core
from fastdraft_core import places
from fastdraft_core.events import Check, CheckStatus
from fastdraft_core.formatting import in_bytes
from fastdraft_core.machine.cpu import describe_cpu
from fastdraft_core.machine.devices import (
    choose_dtype,
    choose_threads,
    detect_devices,
    gaudi_problem,
    library_versions,
    measured_peak_bandwidth,
)
from fastdraft_core.models.catalog import SMOLLM2, hub_cache, is_here
from fastdraft_core.models.local_models import shelf

OK: CheckStatus = "ok"
WARN: CheckStatus = "warn"
FAIL: CheckStatus = "fail"
_GIB = 1 << 30
_MIN_FREE_MEMORY = 2 * _GIB
_MIN_FREE_DISK = 5 * _GIB
_BUNDLED = ("target", "drafts/XS", "drafts/S", "drafts/M")
#: Without these nothing decodes; the others are for more runtimes and for training.
_REQUIRED = ("torch", "transformers", "tokenizers")
#: Who writes a log of its own, and what that tells of.
_LOGS = {"app": "app", "engine": "engine", "sweep": "sweeps", "fastdraft": "command line"}


def checks(*, bandwidth: bool = True) -> Iterator[Check]:
    """Every check, group by group, cheap ones first.

    ``bandwidth`` measures the memory, about two seconds when not kept.
    """
    groups = {
        "versions": _versions(),
        "processor and memory": _processor(),
        "folders": _folders(),
        "logs": _logs(),
        "bundled pair": chain(_bundled(), _smollm2()),
        "models": _models(),
        "devices": _devices(),
        "memory bandwidth": _bandwidth() if bandwidth else iter(()),
    }
    for group, found in groups.items():
        for check in found:
            yield msgspec.structs.replace(check, group=group)


def _versions() -> Iterator[Check]:
    yield Check(name="fastdraft", value=fastdraft_core.__version__)
    yield Check(name="python", value=f"{platform.python_version()} on {platform.platform()}")
    for name, version in library_versions().items():
        if version != "absent":
            yield Check(name=name, value=version)
        else:
            status = FAIL if name in _REQUIRED else WARN
            yield Check(name=name, value=version, status=status, advice=f"Install it: pip install {name}")


def _processor() -> Iterator[Check]:
    cpu = describe_cpu()
    yield Check(name="cpu", value=cpu.name)
    yield Check(
        name="cores",
        value=f"{cpu.physical_cores} physical, {cpu.logical_cores} logical, {choose_threads()} threads used",
    )
    cache = cpu.last_level_cache
    yield Check(name="last-level cache", value="unknown" if cache is None else f"{cache / (1 << 20):.0f} MiB")
    low = cpu.memory_available < _MIN_FREE_MEMORY
    yield Check(
        name="memory",
        value=f"{in_bytes(cpu.memory_available)} available of {in_bytes(cpu.memory_total)}",
        status=WARN if low else OK,
        advice="Close other programs before loading a large target." if low else "",
    )
    yield Check(
        name="bf16",
        value=f"native; the CPU runs {choose_dtype()}" if cpu.bf16 else f"not native; the CPU runs {choose_dtype()}",
    )


def _devices() -> Iterator[Check]:
    problem = gaudi_problem()
    if problem:
        yield Check(name="hpu", value="unusable", status=WARN, advice=problem)
    for device in detect_devices():
        size = f", {in_bytes(device.memory)}" if device.memory else ""
        yield Check(name=f"device {device.torch_name}", value=f"{device.name}{size}, {choose_dtype(device.torch_name)}")
    if find_spec("openvino") is not None:
        from fastdraft_core.runtimes.openvino.loading import openvino_devices

        for name, full_name in openvino_devices().items():
            yield Check(name=f"OpenVINO device {name}", value=full_name)


def _bandwidth() -> Iterator[Check]:
    found = measured_peak_bandwidth()
    note = f"The machine was {found.busy_share:.0%} busy: a lower bound. Run doctor again when it is idle."
    for name, threads, rate in (
        ("memory bandwidth, all threads", found.threads, found.all_threads),
        ("memory bandwidth, one thread", 1, found.single_thread),
    ):
        yield Check(
            name=name,
            value=f"{rate:.1f} GB/s ({threads} thread{'s' if threads > 1 else ''}, measured {found.measured_on}, {found.method})",
            status=WARN if found.busy else OK,
            advice=note if found.busy else "",
        )


def _folders() -> Iterator[Check]:
    for name, folder in (
        ("cache", places.cache()),
        ("jobs", places.jobs()),
        ("settings", places.config()),
        ("Hugging Face cache", hub_cache()),
    ):
        yield Check(name=name, value=f"{folder} ({_size(folder)})")
    home = places.existing_parent(places.cache())
    try:
        free = places.free_disk(home)
    except OSError as error:
        yield Check(name="disk", value=str(home), status=FAIL, advice=f"Its disk cannot be read: {error.strerror}.")
        return
    low = free < _MIN_FREE_DISK
    advice = "Checkpoints and models need more: free some space, or move fastdraft's folders with FASTDRAFT_HOME."
    yield Check(name="disk", value=f"{in_bytes(free)} free", status=WARN if low else OK, advice=advice if low else "")


def _logs() -> Iterator[Check]:
    for program, writer in _LOGS.items():
        path = places.log_file(program)
        size = in_bytes(path.stat().st_size) if path.is_file() else "not written yet"
        yield Check(name=f"log of the {writer}", value=f"{path} ({size})")


def _bundled() -> Iterator[Check]:
    """The bundled pair, complete or named by what is missing or cut short."""
    demo = places.assets() / "demo"
    broken = [part for part in _BUNDLED if not _is_model(demo / part)]
    if broken:
        advice = "Install fastdraft again; until then name a target and a draft of your own."
        value = f"missing or incomplete in {demo}: {', '.join(broken)}"
        yield Check(name="bundled pair", value=value, status=FAIL, advice=advice)
    else:
        yield Check(name="bundled pair", value=f"target and {len(_BUNDLED) - 1} drafts ({_size(demo)})")


def _models() -> Iterator[Check]:
    """Which models of this machine OpenVINO cannot be given."""
    models = shelf()
    refused = [f"{model.name}: {model.conversion_problem}" for model in models if model.conversion_problem]
    if refused:
        advice = "They run with --runtime torch; nothing else is lost."
        yield Check(name="OpenVINO conversion", value="; ".join(refused), status=WARN, advice=advice)
    else:
        yield Check(name="OpenVINO conversion", value=f"every one of the {len(models)} models here")


def _smollm2() -> Iterator[Check]:
    """The published target that the app opens on where it is."""
    folder = places.models() / SMOLLM2
    if not is_here(SMOLLM2):
        yield Check(name=SMOLLM2, value=f"not here; `fastdraft download {SMOLLM2}` brings it")
    elif _is_model(folder):
        yield Check(name=SMOLLM2, value=f"{folder} ({_size(folder)})")
    else:
        advice = f"Delete the folder, and bring it again with `fastdraft download {SMOLLM2}`."
        yield Check(name=SMOLLM2, value=f"missing or incomplete in {folder}", status=FAIL, advice=advice)


def _is_model(folder: Path) -> bool:
    return (folder / "config.json").is_file() and _is_whole(folder / "model.safetensors")


def _is_whole(path: Path) -> bool:
    """Whether a safetensors file is as long as its own header says."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = msgspec.json.decode(file.read(length), type=dict[str, dict[str, Any]])
        ends = [tensor["data_offsets"][1] for name, tensor in header.items() if name != "__metadata__"]
        return path.stat().st_size == 8 + length + max(ends, default=0)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, OverflowError, MemoryError, LookupError, TypeError):
        return False


def _size(folder: Path) -> str:
    """Size of a folder's own files; the hub's links into its blobs are not counted twice."""
    if not folder.is_dir():
        return "empty"
    total = 0
    for directory, _, files in os.walk(folder):
        for name in files:
            path = Path(directory, name)
            if not path.is_symlink() and path.exists():
                total += path.stat().st_size
    return in_bytes(total)
