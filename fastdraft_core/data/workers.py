"""The processes that write the target's text together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


def _only(value: Any) -> list[Any]:
    return [value]


@dataclass(frozen=True, slots=True)
class Workers:
    """This process's number among ``count``, of which the first one writes files.

    ``gather`` brings together a value of each, in the order of their numbers; all must call it equally often.
    """

    rank: int = 0
    count: int = 1
    gather: Callable[[Any], list[Any]] = _only
