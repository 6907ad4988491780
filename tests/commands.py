"""``fastdraft`` as a command: what a test calls, and what it gets."""

from __future__ import annotations

from collections.abc import Callable

#: ``fastdraft ARGS`` in this process: its exit code, stdout and stderr.
Cli = Callable[..., tuple[int, str, str]]
