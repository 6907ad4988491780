"""What a job takes of the machine: processor and memory, and its accelerator where the maker's own tool tells it."""

from __future__ import annotations

import shutil
import subprocess
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING

from fastdraft_core.formatting import in_bytes

if TYPE_CHECKING:
    import psutil

TOOLS = {
    "cuda": (
        "nvidia-smi",
        "--query-gpu=index,name,memory.total,memory.used,utilization.gpu,power.draw",
        "--format=csv,noheader,nounits",
    ),
    "hpu": (
        "hl-smi",
        "-Q",
        "index,name,memory.total,memory.used,utilization.aip,power.draw",
        "--format",
        "csv,noheader,nounits",
    ),
}
"""By kind of device: what prints a line for each, memory in MiB, use in percent, power in watts."""
TOOL_EVERY_SECONDS = 3.0
_TOOL_SECONDS = 5.0


class DeviceUse:
    """Asks about one job at a time; a thread of its own should call it, since the tools take a moment."""

    def __init__(self) -> None:
        self._processes: dict[int, psutil.Process] = {}
        self._asked = 0.0
        self._accelerator = ""

    def poll(self, pid: int | None, device: str) -> str:
        """A line on the process ``pid`` with its children and on ``device``, such as ``cuda:0``; empty without a process."""
        if pid is None:
            self._processes, self._accelerator, self._asked = {}, "", 0.0
            return ""
        if monotonic() - self._asked >= TOOL_EVERY_SECONDS:
            self._asked, self._accelerator = monotonic(), accelerator(device)
        return "   ".join(part for part in (self._process(pid), self._accelerator) if part)

    def _process(self, pid: int) -> str:
        """Processor time as a share of one core and resident memory, of the process and its children together."""
        import psutil

        cpu, memory, known = 0.0, 0, dict(self._processes)
        try:
            parent = known.get(pid) or psutil.Process(pid)
            # A process is asked twice before it has a share: the same object each time.
            self._processes = {one.pid: known.get(one.pid, one) for one in (parent, *parent.children(recursive=True))}
        except psutil.Error:
            self._processes = {}
            return ""
        for one in self._processes.values():
            with suppress(psutil.Error):
                cpu += one.cpu_percent() / 100
                memory += one.memory_info().rss
        return f"process {cpu:.1f} of {psutil.cpu_count() or 1} cores, {in_bytes(memory)} resident"


def accelerator(device: str) -> str:
    """A line on the accelerator, or nothing where there is none or no tool tells of it."""
    kind, _, index = device.partition(":")
    command = TOOLS.get(kind)
    if command is None or shutil.which(command[0]) is None:
        return ""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TOOL_SECONDS, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    for line in done.stdout.splitlines():
        fields = [field.strip() for field in line.split(",")]
        if len(fields) == 6 and fields[0] == (index or "0"):
            return f"{device}: {_told(fields)}"
    return ""


def _told(fields: list[str]) -> str:
    """Use, memory and power, of those that are numbers; a device may answer ``[N/A]``."""
    _, name, total, used, busy, power = fields
    parts = [name]
    with suppress(ValueError):
        parts.append(f"{_number(busy):.0f} % busy")
    with suppress(ValueError):
        parts.append(f"{in_bytes(_number(used) * 2**20)} of {in_bytes(_number(total) * 2**20)}")
    with suppress(ValueError):
        parts.append(f"{_number(power):.0f} W")
    return ", ".join(parts)


def _number(text: str) -> float:
    """The number before a unit, which older tools print in spite of ``nounits``."""
    return float((text.split() or ["none"])[0])
