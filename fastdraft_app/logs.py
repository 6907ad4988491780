"""The app's log: a rotating file in the state folder, and nothing on the screen."""

from __future__ import annotations

import logging
from logging.handlers import RotatingFileHandler
from pathlib import Path


def log_to(path: Path, level: str = "info") -> None:
    """Write the log of this program to ``path``, from ``level`` on; two files of at most half a megabyte."""
    handler = RotatingFileHandler(path, maxBytes=1 << 19, backupCount=1, encoding="utf-8", delay=True)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logger = logging.getLogger("fastdraft_app")
    logger.addHandler(handler)
    logger.setLevel(level.upper())
    logger.propagate = False
