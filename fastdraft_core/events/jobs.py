"""Jobs: when one started and how it ended."""

from __future__ import annotations

from fastdraft_core.events.base import Event


class JobStarted(Event, frozen=True):
    """A process took the job up, for the first time or again, ``at`` a Unix time."""

    at: float
    device: str
    pid: int


class JobEnded(Event, frozen=True):
    """The process left the job ``at`` a Unix time; ``state`` is finished, paused, cancelled or failed.

    ``message`` is the reason of a failure, for the user, and empty otherwise.
    """

    at: float
    state: str
    message: str = ""


class RecipeChanged(Event, frozen=True):
    """The job took a recipe with other values ``at`` a Unix time, each told as ``pt.learning_rate = 0.001 (was 0.01)``."""

    at: float
    changes: list[str]
