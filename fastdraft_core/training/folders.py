"""Where a job keeps its stages; light, for whoever only looks."""

from __future__ import annotations

import shutil
from pathlib import Path


def stage_folder(folder: Path, stage: str) -> Path:
    """Where the job in ``folder`` keeps the checkpoints of a stage."""
    return folder / "checkpoints" / stage


def find_checkpoint(folder: Path) -> Path | None:
    """The newest complete checkpoint at ``folder``, also when a rename was interrupted."""
    for candidate in (folder, folder.with_name(f"{folder.name}.old")):
        if (candidate / "config.json").is_file():
            return candidate
    return None


def last_checkpoint(folder: Path, stage: str) -> Path | None:
    """The newest checkpoint that a stage of the job in ``folder`` goes on from; None where it has not begun."""
    return find_checkpoint(stage_folder(folder, stage) / "last")


def set_aside(folder: Path, stage: str) -> None:
    """Have the stage begin anew; what it reached is kept beside, in the place of what was kept there before."""
    kept = stage_folder(folder, stage)
    if kept.is_dir():
        before = kept.with_name(f"{stage}.before")
        shutil.rmtree(before, ignore_errors=True)
        kept.rename(before)
