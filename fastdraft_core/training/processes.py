"""Several processes that train one model: which rows each one reads, and how all go on or leave together."""

from __future__ import annotations

import contextlib
import datetime
import platform
import secrets
import time
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch

from fastdraft_core.errors import FastdraftError
from fastdraft_core.events import Event
from fastdraft_core.machine.devices import choose_dtype
from fastdraft_core.machine.pages import keep_pages
from fastdraft_core.training.stop import Interrupted


def training_dtype(device: str) -> torch.dtype:
    """The format of matrix products: bfloat16 where it is native, else float32. Weights are float32 always.

    Emulated bfloat16 is several times slower, and float16 would need its gradients scaled.
    """
    return torch.bfloat16 if choose_dtype(device) == "bfloat16" else torch.float32


def mixed_precision(device: torch.device) -> torch.autocast:
    """Autocast to the device's ``training_dtype``; off where that is float32."""
    dtype = training_dtype(device.type)
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=dtype == torch.bfloat16)


def training_attention(device: torch.device, *, compiled: bool) -> str:
    """transformers' attention for training on ``device``.

    Plain attention where a CPU with native bfloat16 compiles it: its products then run as bfloat16 matrix products.
    In float32 both were equally fast when measured, and fused attention keeps no scores.
    """
    plain = compiled and device.type == "cpu" and training_dtype("cpu") == torch.bfloat16
    return "eager" if plain else "sdpa"


_T = TypeVar("_T")
#: The others wait so long for the first process, which may have the target write for days.
_PATIENCE = datetime.timedelta(days=14)
#: A file system over the network shows the others what one machine wrote after so long at most.
_SEEN_SECONDS = 10.0


def make_accelerator() -> Any:
    """accelerate's view of this process: its device, and the others that `accelerate launch` or `torchrun` started.

    Raises:
        FastdraftError: Gaudi's software is there but does not work.
    """
    from accelerate import Accelerator
    from accelerate.utils import InitProcessGroupKwargs

    from fastdraft_core.machine.devices import choose_device, choose_threads, prepare_gaudi

    prepare_gaudi()
    torch.set_num_threads(choose_threads())
    # Where there is nothing but a CPU, accelerate joins several processes only if told so: each would train alone.
    cpu = choose_device() == "cpu"
    if cpu:
        keep_pages()
    return Accelerator(cpu=cpu, kwargs_handlers=[InitProcessGroupKwargs(timeout=_PATIENCE)])


@contextlib.contextmanager
def together(accelerator: Any) -> Iterator[None]:
    """Around what several processes do; where one of them is gone, the others say so and leave.

    Raises:
        FastdraftError: another process does not answer any more.
    """
    try:
        yield
    except RuntimeError as error:
        # Gloo, which CPUs talk over, has no error of its own.
        lost = isinstance(error, torch.distributed.DistError) or "gloo" in str(error)
        if accelerator.num_processes == 1 or not lost:
            raise
        raise FastdraftError(
            "Another process of this training has ended, and says there why. Start all of them again: the training goes on from "
            "its last checkpoint."
        ) from error


def check_shared(accelerator: Any, *folders: Path) -> None:
    """See that every process finds in ``folders`` what the first one writes there: shards, the target's text, checkpoints.

    Raises:
        FastdraftError: one does not, such as on another machine with a disk of its own, or the first cannot write there.
    """
    if accelerator.num_processes == 1:
        return
    from accelerate.utils import gather_object

    # The first process may have found a reason not to begin.
    agree(accelerator)
    # A name that nobody has asked for yet, so that no file system remembers its absence.
    name = gather_object([f".shared-{secrets.token_hex(8)}"])[0]
    marks = [folder / name for folder in folders]
    try:
        agree(accelerator, _leave(marks) if accelerator.is_main_process else "")
        agree(accelerator, _unseen(marks))
    finally:
        if accelerator.is_main_process:
            for mark in marks:
                mark.unlink(missing_ok=True)


def _leave(marks: list[Path]) -> str:
    """Make the files; the problem in words where that fails."""
    try:
        for mark in marks:
            mark.parent.mkdir(parents=True, exist_ok=True)
            mark.touch()
    except OSError as error:
        return f"{mark.parent} cannot be written ({error.strerror or error})."
    return ""


def _unseen(marks: list[Path]) -> str:
    """In words, which of the files this process does not come to see; nothing where it sees all."""
    end = time.monotonic() + _SEEN_SECONDS
    while unseen := [mark for mark in marks if not mark.exists()]:
        if time.monotonic() > end:
            return (
                f"On {platform.node()} there is not in {unseen[0].parent} what the first process writes there. Machines that "
                "train together need one file system: set FASTDRAFT_HOME (and --job, where it is given) to the same shared "
                "folder on each of them."
            )
        time.sleep(0.1)
    return ""


def first_alone(accelerator: Any, work: Generator[Event, None, _T]) -> Generator[Event, None, _T]:
    """``work`` by the first process, then by the others, which find on the disk what it made. Returns its result.

    Raises:
        FastdraftError: the first process's, in all of them.
    """
    if not accelerator.is_main_process:
        agree(accelerator)
        return (yield from work)
    try:
        result = yield from work
    except FastdraftError as error:
        agree(accelerator, error.message)
        raise
    agree(accelerator)
    return result


def check_same(accelerator: Any, digests: Mapping[str, str]) -> None:
    """See that all processes have the same tokens under each name.

    Raises:
        FastdraftError: they have not, in all of them.
    """
    if accelerator.num_processes == 1:
        return
    from accelerate.utils import gather_object

    found = gather_object([dict(digests)])
    other = [name for name in digests if len({each[name] for each in found}) > 1]
    if other:
        raise FastdraftError(
            f"The processes of this training read other tokens of {', '.join(other)}: the files differ from machine to machine. "
            "Put them into a folder that all machines share, and name that one under [sources]."
        )


def row_shares(rows: int, world: int, rank: int, micro_batch: int) -> tuple[list[range], int]:
    """The rows of one process in one step, micro-batch by micro-batch, and the size that each is filled up to.

    All processes run equally many micro-batches of one size, at most ``micro_batch`` rows: gradients
    are then summed over them without waiting for each other, and shapes never change.
    """
    most = -(-rows // world)
    count = -(-most // micro_batch)
    size = -(-most // count)
    first, last = rank * rows // world, (rank + 1) * rows // world
    return [range(min(first + n * size, last), min(first + (n + 1) * size, last)) for n in range(count)], size


def total(accelerator: Any, *values: float) -> list[float]:
    """Each of ``values`` summed over all processes; the same on all of them."""
    if accelerator.num_processes == 1:
        return list(values)
    return accelerator.reduce(torch.tensor(values, device=accelerator.device), "sum").tolist()


def agree(accelerator: Any, problem: str = "", *, stop: bool = False) -> None:
    """Go on where every process can; otherwise all leave here, with the same words.

    Raises:
        FastdraftError: a process has a ``problem``.
        Interrupted: a process was asked to ``stop``.
    """
    problems, stops = total(accelerator, float(bool(problem)), float(stop))
    if problems and accelerator.num_processes > 1:
        from accelerate.utils import gather_object

        problem = next(text for text in gather_object([problem]) if text)
    if problems:
        raise FastdraftError(problem)
    if stops:
        raise Interrupted
