"""Several processes that train one model: which rows each one reads, and how all go on or leave together."""

from __future__ import annotations

import datetime
from collections.abc import Generator
from typing import Any, TypeVar

import torch

from fastdraft_core.errors import FastdraftError
from fastdraft_core.events import Event
from fastdraft_core.training.stop import Interrupted

_T = TypeVar("_T")
#: The others wait so long for the first process, which may have the target write for days.
_PATIENCE = datetime.timedelta(days=14)


def make_accelerator() -> Any:
    """accelerate's view of this process: its device, and the others that `accelerate launch` or `torchrun` started.

    Raises:
        FastdraftError: Gaudi's software is there but does not work.
    """
    from accelerate import Accelerator
    from accelerate.utils import InitProcessGroupKwargs

    from fastdraft_core.devices import choose_threads, prepare_gaudi

    prepare_gaudi()
    torch.set_num_threads(choose_threads())
    return Accelerator(kwargs_handlers=[InitProcessGroupKwargs(timeout=_PATIENCE)])


def first_alone(accelerator: Any, work: Generator[Event, None, _T]) -> Generator[Event, None, _T]:
    """``work`` by the first process, then by the others, which find on the disk what it made. Returns its result."""
    if accelerator.is_main_process:
        result = yield from work
        accelerator.wait_for_everyone()
        return result
    accelerator.wait_for_everyone()
    return (yield from work)


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
