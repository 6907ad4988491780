"""Where a finished model is written: a folder of the user's, so nothing that fastdraft did not put there is touched."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path

from fastdraft_core.errors import FastdraftError
from fastdraft_core.files import write_atomic

#: Says in a published folder which job wrote it, and which files.
_MARK = "fastdraft.json"


def check_output(output: Path, job: Path) -> None:
    """See that the job in the folder ``job`` may write its model to ``output``; nothing is changed.

    It may where nothing is, in an empty folder, and in place of what it wrote there itself, if nothing was added.

    Raises:
        FastdraftError: something else is there, or the place cannot be written.
    """
    output, job = output.resolve(), job.resolve()
    if job == output or output in job.parents:
        raise FastdraftError(f"The job itself is kept in {output}. Choose another folder with --output.")
    if output.exists() and not (output.is_dir() and _replaceable(output, job)):
        raise FastdraftError(
            f"{output} exists and holds something that this job did not write there; nothing of it is touched. Choose "
            "another folder with --output, or move that one away."
        )
    there = next(path for path in output.parents if path.exists())
    if not (there.is_dir() and os.access(there, os.W_OK)):
        raise FastdraftError(f"{output} cannot be made, since {there} cannot be written. Choose another --output.")


def building_beside(output: Path) -> Path:
    """A new, empty folder beside ``output`` for the model while it is written.

    Raises:
        OSError: it cannot be made.
    """
    output = output.resolve()
    output.parent.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix=f".{output.name}.fastdraft-", dir=output.parent))


def install(building: Path, output: Path, job: Path) -> None:
    """Put the whole model in ``building`` at ``output`` and mark it as written by the job in the folder ``job``.

    Raises:
        FastdraftError: something else came to be there meanwhile.
        OSError: it cannot be renamed.
    """
    output, job = output.resolve(), job.resolve()
    check_output(output, job)
    files = sorted(path.name for path in building.iterdir())
    write_atomic(building / _MARK, json.dumps({"job": _named(job), "files": files}, indent=1).encode())
    # As any new folder; one for temporary files is its owner's alone.
    building.chmod(0o777 & ~_umask())
    if not output.exists():
        building.rename(output)
        return
    old = building.with_name(f"{building.name}-old")
    try:
        output.rename(old)
        building.rename(output)
    except BaseException:
        # Also a pause in between: what was published stays where it was.
        if old.exists() and not output.exists():
            old.rename(output)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _replaceable(output: Path, job: Path) -> bool:
    """Whether the folder is empty, or holds what ``job`` wrote and nothing else."""
    there = {path.name for path in output.iterdir()}
    if not there:
        return True
    try:
        mark = json.loads((output / _MARK).read_text(encoding="utf-8"))
        return bool(mark["job"] == _named(job) and there <= {*mark["files"], _MARK})
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _named(job: Path) -> str:
    """The job without its path: a model is given away, and where its maker keeps things is nobody's business."""
    return hashlib.sha256(os.fsencode(job)).hexdigest()[:16]


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
