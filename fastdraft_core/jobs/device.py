"""Which device a job occupies, told without loading a model library into the process that waits for it.

A job's device is named over the whole machine: ``CUDA_VISIBLE_DEVICES=3`` makes ``cuda:0`` of a
program into ``cuda:3``, so that two jobs queue for one device only if it is one.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import MutableMapping

from fastdraft_core.errors import FastdraftError
from fastdraft_core.jobs.processes import python_environment

#: What shows a process only some devices of a kind.
_VISIBLE = {"cuda": "CUDA_VISIBLE_DEVICES", "xpu": "ZE_AFFINITY_MASK", "hpu": "HABANA_VISIBLE_MODULES"}
_LOOK_UP = """
import sys
from fastdraft_core.machine.devices import choose_device
from fastdraft_core.errors import FastdraftError
try:
    print(choose_device(sys.argv[1]))
except FastdraftError as error:
    sys.exit(error.message)
"""
_LOOK_UP_SECONDS = 300


def look_up(asked: str) -> str:
    """The machine-wide name of the device that ``--device ASKED`` means here; empty means the best one.

    Takes some seconds, in a process of its own, for anything but ``cpu``.

    Raises:
        FastdraftError: there is no such device.
    """
    if asked == "cpu":
        return asked
    command = [sys.executable, "-P", "-c", _LOOK_UP, asked]
    try:
        done = subprocess.run(
            command, env=python_environment(), capture_output=True, text=True, timeout=_LOOK_UP_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise FastdraftError(f"The device {asked or 'of this machine'} could not be looked up ({error}).") from error
    if done.returncode:
        reason = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise FastdraftError(reason[0])
    return machine_wide(done.stdout.split()[-1], os.environ)


def machine_wide(name: str, environment: MutableMapping[str, str]) -> str:
    """The device that a process with ``environment`` calls ``name``, such as ``cuda:0``, by its own name."""
    kind, _, index = name.partition(":")
    visible = [entry.strip() for entry in environment.get(_VISIBLE.get(kind, ""), "").split(",") if entry.strip()]
    return f"{kind}:{visible[int(index)]}" if index and int(index) < len(visible) else name


def occupy(device: str, environment: MutableMapping[str, str]) -> None:
    """Let ``environment`` show this device alone; before any model library is loaded."""
    kind, _, index = device.partition(":")
    if kind == "cpu":
        environment["ACCELERATE_USE_CPU"] = "true"
        environment["CUDA_VISIBLE_DEVICES"] = ""
    elif kind in _VISIBLE and index:
        environment[_VISIBLE[kind]] = index
