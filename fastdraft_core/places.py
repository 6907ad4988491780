"""Where fastdraft keeps things: the platform's own folders, all movable by ``FASTDRAFT_HOME``."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import platformdirs

from fastdraft_core.errors import FastdraftError


def _root(kind: str) -> Path:
    """``kind`` is one of ``cache``, ``data``, ``config``, ``state``."""
    home = os.environ.get("FASTDRAFT_HOME")
    if home:
        try:
            return Path(home).expanduser() / kind
        except RuntimeError as error:
            raise FastdraftError(f"FASTDRAFT_HOME is {home}, and there is no such user. Name a folder.") from error
    return Path(getattr(platformdirs, f"user_{kind}_path")("fastdraft", appauthor=False))


def cache() -> Path:
    """Things that can be made again: token shards, converted models, measured peaks."""
    return _root("cache")


def models() -> Path:
    """Targets that fastdraft itself downloads, a folder each."""
    return _root("data") / "models"


def jobs() -> Path:
    """One folder a training job."""
    return _root("data") / "jobs"


def results() -> Path:
    """One folder a sweep."""
    return _root("data") / "results"


def designs() -> Path:
    """One folder a design study."""
    return _root("data") / "designs"


def config() -> Path:
    """Settings of the app."""
    return _root("config")


def log_file(program: str) -> Path:
    """The log that an error message names; its folder exists after this call.

    Raises:
        FastdraftError: the folder cannot be made or written, and so none of fastdraft's can.
    """
    folder = _root("state")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unusable(folder, error.strerror or str(error)) from error
    path = folder / f"{program}.log"
    if not os.access(path if path.exists() else folder, os.W_OK) or path.is_dir():
        raise _unusable(folder, "it cannot be written")
    return path


def _unusable(folder: Path, reason: str) -> FastdraftError:
    return FastdraftError(
        f"fastdraft keeps its files in {folder}, which cannot be used ({reason}). Set FASTDRAFT_HOME to a folder that can be "
        "written."
    )


def recordings() -> Path:
    """Every run of the app, one file each; the oldest go first."""
    return _root("data") / "recordings"


def exports() -> Path:
    """What the user exports and the pictures of the screen."""
    return _root("data") / "exports"


def history() -> Path:
    """Prompts and models that were used before."""
    return _root("data") / "history.json"


def existing_parent(folder: Path) -> Path:
    """``folder``, or the nearest folder above it that exists; the root where even that does not, such as a missing drive."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder


def free_disk(folder: Path) -> int:
    """Bytes that are free where ``folder`` is, or would be.

    Raises:
        OSError: its disk cannot be read.
    """
    return shutil.disk_usage(existing_parent(folder)).free


def assets() -> Path:
    """The bundled pair and recipes: inside an installed package, or at the checkout's top."""
    package = Path(__file__).resolve().parent
    installed = package / "assets"
    return installed if installed.is_dir() else package.parent / "assets"
