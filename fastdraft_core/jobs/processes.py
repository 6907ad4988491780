"""Job processes: start one that outlives everybody, find it again, end it."""

from __future__ import annotations

import contextlib
import os
import platform
import signal
import subprocess
import sys
from functools import cache
from pathlib import Path

import psutil

from fastdraft_core.jobs.record import ACTIVE, Process, Record, State, job_state
from fastdraft_core.machine.machine_id import machine_id

#: What runs a job; the folder is its only argument. ``-P``: a ``random.py`` in the user's folder is not ours to import.
COMMAND = (sys.executable, "-P", "-m", "fastdraft_core.jobs.run")
LOG = "log.txt"
_PACKAGE_PARENT = Path(__file__).resolve().parents[2]
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
#: Children of this process; a handle that is kept lets them be reaped, and not be warned about.
_children: list[subprocess.Popen[bytes]] = []


def this_process() -> Process:
    """The process that asks."""
    return _process(os.getpid())


def is_this(process: Process | None) -> bool:
    """Whether that very process asks; the machine may be called otherwise than when it was written down."""
    me = this_process()
    return process is not None and (process.pid, process.start) == (me.pid, me.start)


def alive(process: Process | None) -> bool:
    """Whether that very process is still there, on this machine: its pid *and* its start time; a zombie is not."""
    if process is None:
        return False
    try:
        return _start(process.pid) == process.start and psutil.Process(process.pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def elsewhere(process: Process | None) -> str:
    """The name of the machine that a process is on, where that is another one, so that nobody here can see it; else nothing."""
    if process is None or alive(process):
        return ""
    if process.machine:
        here = process.machine == machine_id()
    else:
        # By its name, or as one that was started since this machine was.
        here = process.host == platform.node() or bool(_boot_id() and process.start.startswith(_boot_id()))
    return "" if here else process.host or "another machine"


def state(record: Record) -> State:
    """The state of a job now; one of another machine is as that wrote it down."""
    return job_state(record, alive(record.process) or bool(elsewhere(record.process)))


def place(record: Record) -> str:
    """The other machine that a job waits or runs on; nothing where that is this one, or it does neither."""
    return elsewhere(record.process) if state(record) in ACTIVE else ""


def state_words(record: Record) -> str:
    """The state of a job now, with its machine where that is another one: ``running on node2``."""
    other = place(record)
    return f"{state(record)} on {other}" if other else state(record)


def start(folder: Path, where: str) -> Process:
    """Start the process of the job in ``folder``, in the working folder ``where``; it outlives this one and its terminal.

    Raises:
        OSError: it cannot be started, for instance because ``where`` is gone.
    """
    _children[:] = [child for child in _children if child.poll() is None]
    with (folder / LOG).open("ab") as log:
        child = subprocess.Popen(
            [*COMMAND, str(folder)],
            cwd=where,
            env=python_environment(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    _children.append(child)
    # It cannot be gone from the table: it is our child, and nobody has waited for it yet.
    return _process(child.pid)


def python_environment() -> dict[str, str]:
    """The environment of a Python that must find this very package, also from a checkout that is not installed."""
    paths = os.environ.get("PYTHONPATH", "")
    if not (_PACKAGE_PARENT / "pyproject.toml").is_file():
        return dict(os.environ)
    return {**os.environ, "PYTHONPATH": f"{paths}{os.pathsep}{_PACKAGE_PARENT}" if paths else str(_PACKAGE_PARENT)}


def ask_to_stop(process: Process) -> None:
    """Have the job write a checkpoint and leave."""
    if alive(process):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(process.pid, signal.SIGTERM)


def kill(process: Process) -> None:
    """End the process and its children at once."""
    if not alive(process):
        return
    with contextlib.suppress(psutil.Error):
        parent = psutil.Process(process.pid)
        for one in (parent, *parent.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                one.kill()


def lower_priority() -> None:
    """Nice 10, unless this process is nicer still: a job must not make its user's machine sluggish."""
    if hasattr(os, "setpriority"):
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, 0, max(10, os.getpriority(os.PRIO_PROCESS, 0)))
    else:
        psutil.Process().nice(psutil.BELOW_NORMAL_PRIORITY_CLASS)


def _process(pid: int) -> Process:
    return Process(pid, _start(pid), platform.node(), machine_id())


def _start(pid: int) -> str:
    """The start of a process, in a form that no later change of the clock alters.

    Linux counts it from the boot; psutil adds the time of the boot, which moves when the clock is set.

    Raises:
        psutil.NoSuchProcess: there is none.
    """
    created = psutil.Process(pid).create_time()
    return f"{_boot_id()} {created - psutil.boot_time():.2f}" if _boot_id() else f"{created:.2f}"


@cache
def _boot_id() -> str:
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return ""
