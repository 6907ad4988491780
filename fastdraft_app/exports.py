"""Where exports and pictures go, and names for them that nobody has yet."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from fastdraft_app.settings.settings import Settings
from fastdraft_core import places


def export_folder(settings: Settings) -> Path:
    """Where exports and pictures go; it is there after this call."""
    folder = Path(settings.exports).expanduser() if settings.exports else places.exports()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def free_name(folder: Path, kind: str, stem: str = "") -> Path:
    """A file name that nobody has yet, by default of this second."""
    stem = stem or f"fastdraft-{datetime.now():%Y%m%d-%H%M%S}"
    names = (folder / f"{stem}{number}.{kind}" for number in ("", *(f"-{n}" for n in range(2, 1000))))
    return next(path for path in names if not path.exists())
