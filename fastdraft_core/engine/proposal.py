"""What a conversion of a large target would take and bring, said before anything slow begins."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from fastdraft_core import places
from fastdraft_core.formatting import in_bytes
from fastdraft_core.machine import limits
from fastdraft_core.models.weights import count_parameters
from fastdraft_core.runtimes.openvino.conversion import WeightFormat, needed_bytes

#: Bytes that a weight takes in an IR, its scales counted; the embeddings and the head of int4 at 8 bits are not.
_BYTES = {"int4": 0.53, "int8": 1.01}


def proposal(name: str, folder: Path, devices: Mapping[str, str]) -> str:
    """How to have the model in ``folder`` converted, with disk and memory, modelled; ``devices`` are OpenVINO's, by name.

    A device other than the CPU is proposed where there is one: an integrated GPU reads the same memory with more units.
    """
    parameters = count_parameters(folder) or 0
    gpu = next((device for device in devices if device.startswith("gpu")), "")
    where = f" --device {gpu}" if gpu else ""
    ways = []
    for weights, size in _BYTES.items():
        needed, after = needed_bytes(folder, WeightFormat.parse(weights)), int(parameters * size)
        memory = 2 * parameters + after
        ways.append(
            f"--runtime openvino{where} --weights {weights} takes {in_bytes(needed)} of disk while it converts and "
            f"{in_bytes(after)} afterwards, and up to {in_bytes(memory)} of memory"
        )
    try:
        disk = f"{in_bytes(places.free_disk(places.existing_parent(places.cache())))} of disk and "
    except OSError:
        disk = ""
    seen = ", ".join(f"{device} ({title})" for device, title in devices.items())
    return (
        f"converting {name} to OpenVINO takes a while, so it was not tried. OpenVINO has {seen} here. Once, {'; '.join(ways)} "
        f"(modelled; {disk}{in_bytes(limits.memory()[1])} of memory are free). --runtime openvino alone keeps the weights as they "
        "are, and after that the faster runtime is measured"
    )
