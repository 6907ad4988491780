"""The target on OpenVINO writes for FT, in a process of its own.

After OpenVINO has run, training in the same process has ended in a segmentation fault. The process ends with the pipe to it.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import traceback
from collections.abc import Iterator
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from fastdraft_core.data.generation import Batch, Written, continue_pages
from fastdraft_core.data.memory import memory_for
from fastdraft_core.data.writers import Writer
from fastdraft_core.errors import FastdraftError

#: What the process answers with: what it wrote, or why there is nothing.
_WRITTEN, _PROBLEM, _ERROR = "written", "problem", "error"
#: What asks a training to leave may reach this process as well. It leaves when the training does.
_IGNORED = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")


@contextlib.contextmanager
def openvino_writer(folder: Path, name: str, *, trust_remote_code: bool = False) -> Iterator[Writer]:
    """A writer that lives as long as the context: the model in ``folder``, converted first where it has no IR yet.

    Raises:
        FastdraftError: the model cannot be converted or run, or its process ended by itself.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, folder, name, trust_remote_code), daemon=True)
    process.start()
    theirs.close()

    def answer(batch: Batch | None = None) -> Any:
        try:
            if batch:
                ours.send(batch)
            kind, value = ours.recv()
        except (EOFError, ConnectionError) as error:
            process.join()
            if process.exitcode == -getattr(signal, "SIGKILL", 9):
                raise MemoryError from error
            raise FastdraftError(
                f"OpenVINO ended the process in which {name} writes (exit code {process.exitcode}). Run again with "
                'synthesis.engine = "torch".'
            ) from error
        if kind == _PROBLEM:
            raise FastdraftError(value)
        if kind == _ERROR:
            raise RuntimeError(value)
        return value

    def write(batch: Batch) -> Written:
        written: Written = answer(batch)
        return written

    try:
        with memory_for(f"{name} on OpenVINO", 'Close other programs, or set synthesis.engine = "torch".'):
            answer()
        yield write
    finally:
        # It may be in the middle of a batch that nobody waits for any more.
        process.kill()
        process.join()
        ours.close()


def _serve(pipe: Connection, folder: Path, name: str, trust_remote_code: bool) -> None:
    """Load, say so with nothing, then answer batches until the other end is gone."""
    for number in (getattr(signal, signal_name, None) for signal_name in _IGNORED):
        if number is not None:
            signal.signal(number, signal.SIG_IGN)
    with contextlib.suppress(EOFError, ConnectionError):
        try:
            write = _load(folder, name, trust_remote_code)
            pipe.send((_WRITTEN, None))
            while True:
                pipe.send((_WRITTEN, write(pipe.recv())))
        except FastdraftError as error:
            pipe.send((_PROBLEM, error.message))
        except (RuntimeError, MemoryError):
            pipe.send((_ERROR, traceback.format_exc()))


def _load(folder: Path, name: str, trust_remote_code: bool) -> Writer:
    import torch

    from fastdraft_core.machine.devices import choose_threads
    from fastdraft_core.machine.pages import keep_pages
    from fastdraft_core.runtimes.openvino.ir_cache import ir_of
    from fastdraft_core.runtimes.openvino.loading import OpenVinoOptions, load_batch

    # Its own threads wait by spinning, which would take the cores away from OpenVINO.
    torch.set_num_threads(1)
    keep_pages()
    ir = ir_of(folder, name, "", lambda _: None, trust_remote_code=trust_remote_code)
    options = OpenVinoOptions(threads=choose_threads())
    return partial(continue_pages, load_batch(ir, name, options, trust_remote_code=trust_remote_code))
