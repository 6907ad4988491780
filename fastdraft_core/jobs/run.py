"""Runs one job folder: ``python -m fastdraft_core.jobs.run FOLDER``.

The process waits until its device is free, trains, and keeps the account in the folder. SIGTERM and
Ctrl-C have it write a checkpoint and leave. While it waits, no model library is loaded.
"""

from __future__ import annotations

import contextlib
import errno
import faulthandler
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from msgspec.structs import replace

from fastdraft_core.errors import FastdraftError
from fastdraft_core.events import Event, JobStarted, Progress, Step
from fastdraft_core.jobs import device, processes, queue
from fastdraft_core.jobs.describe import describe
from fastdraft_core.jobs.folder import claim, job_recipe, reserve, use_reserve, written
from fastdraft_core.jobs.record import Record, State
from fastdraft_core.training.recipe import Recipe, check_stage
from fastdraft_core.training.stop import Stop

logger = logging.getLogger(__name__)

_LINE = "%(asctime)s %(message)s"
#: What a job does once the device is its own.
Work = Callable[[Recipe, Path, Record, Stop], Iterator[Event]]


def run_job(recipe: Recipe, folder: Path, *, only: str | None = None, stop: Stop | None = None) -> Iterator[Event]:
    """Run ``recipe`` in ``folder`` from where it stopped; every event is also appended to ``events.jsonl``.

    Raises:
        FastdraftError: the folder belongs to another recipe, or the training fails.
        Interrupted: ``stop`` asked for it; a checkpoint is written.
    """
    from fastdraft_core.training.stages import run_recipe

    claim(recipe, folder)
    check_stage(recipe, only or "")
    yield from written(run_recipe(recipe, folder, only=only, stop=stop), folder)


def train_and_publish(recipe: Recipe, folder: Path, record: Record, stop: Stop) -> Iterator[Event]:
    """The recipe's stages, then the model with its card where the job has an output folder."""
    from fastdraft_core.machine.devices import choose_device
    from fastdraft_core.training.output import check_output
    from fastdraft_core.training.publish import publish

    # A device that is gone would otherwise be the CPU without a word.
    choose_device(record.device.partition(":")[0])
    if record.output:
        check_output(Path(record.output), folder)
    yield from run_job(recipe, folder, only=record.stage or None, stop=stop)
    if record.output:
        yield from stop.drop(publish(recipe, folder, Path(record.output)))


def run_queued(folder: Path, stop: Stop, work: Work = train_and_publish) -> Iterator[Event]:
    """Wait for the turn of the queued job in ``folder``, run it, and write down how it ended.

    Raises:
        FastdraftError: it failed; the reason stands in the folder too.
        Interrupted: it was asked to leave, and wrote a checkpoint before.
    """
    record = queue.enter(folder)
    try:
        recipe = job_recipe(folder)
        reserve(folder)
        with stop.droppable():
            named = record.device or device.look_up(record.asked)
        yield from _wait(folder, named, stop)
        device.occupy(named, os.environ)
        started = JobStarted(at=time.time(), device=named, pid=os.getpid())
        yield from written(iter([started]), folder)
        yield from work(recipe, folder, replace(record, device=named), stop)
    except BaseException as error:
        state, reason = _outcome(error)
        _end(folder, state, reason)
        if state == "failed" and not isinstance(error, FastdraftError):
            raise FastdraftError(reason) from error
        raise
    else:
        _end(folder, "finished")


def _wait(folder: Path, named: str, stop: Stop) -> Iterator[Event]:
    """Until this job has its device; says so whenever it waits for another one than before."""
    told = ""
    while ahead := queue.take_turn(folder, named):
        if ahead != told:
            yield Progress(what=f"waiting for {named}: job {ahead} comes first")
            told = ahead
        with stop.droppable():
            time.sleep(queue.POLL_SECONDS)


def _outcome(error: BaseException) -> tuple[State, str]:
    """The state that a job ends in, and the reason for the user."""
    if isinstance(error, FastdraftError):
        return "failed", error.message
    if isinstance(error, KeyboardInterrupt | GeneratorExit):
        return "paused", ""
    logger.error("the job failed", exc_info=error)
    if isinstance(error, MemoryError):
        return "failed", (
            "The memory is full. Lower the stage's micro_batch or synthesis.batch_size, or close other programs, and run again; "
            "the job goes on from its last checkpoint."
        )
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return "failed", (
            f"{error.filename or 'A file'} could not be written ({error.strerror}). Free some space and try again; the "
            "job goes on from its last checkpoint."
        )
    return "failed", f"{type(error).__name__}: {error}. The details are in {_log()}."


def _log() -> str:
    """Where this process writes what happens: the job's own log, or in the foreground that of the command line."""
    files = [handler for handler in logging.getLogger().handlers if isinstance(handler, logging.FileHandler)]
    return files[0].baseFilename if files else processes.LOG


def _end(folder: Path, state: State, reason: str = "") -> None:
    """Write down how the job ended, even on a full disk, and see to those that wait."""
    with contextlib.suppress(OSError):
        use_reserve(folder)
    try:
        queue.leave(folder, state, reason)
        queue.look_after()
    except (OSError, FastdraftError):
        logger.exception("the end of the job (%s) could not be written down", state)


@contextlib.contextmanager
def job_log(folder: Path) -> Iterator[None]:
    """For a job in the foreground: its ``log.txt`` holds what that of a process of its own would."""
    handler = logging.FileHandler(folder / processes.LOG, encoding="utf-8")
    handler.setFormatter(logging.Formatter(_LINE))
    logging.getLogger().addHandler(handler)
    try:
        yield
    except FastdraftError as error:
        logger.info("%s", error.message)
        raise
    finally:
        logging.getLogger().removeHandler(handler)
        handler.close()


def log_event(event: Event) -> None:
    """One line of the log, for all but steps, which the events hold."""
    if not isinstance(event, Step):
        logger.info("%s", describe(event))


def main(work: Work = train_and_publish) -> None:
    """Run the job of the folder that is named; exit code 0 finished, 1 failed, 130 asked to leave."""
    # A crash below Python leaves its reason in log.txt.
    faulthandler.enable()
    logging.basicConfig(level=logging.INFO, format=_LINE)
    processes.lower_priority()
    if len(sys.argv) != 2:
        sys.exit("Give one job folder: python -m fastdraft_core.jobs.run FOLDER")
    folder, stop = Path(sys.argv[1]).absolute(), Stop()
    try:
        with stop.on_signals():
            queue.adopt(folder)
            for event in run_queued(folder, stop, work):
                log_event(event)
    except FastdraftError as error:
        logger.info("%s", error.message)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
