"""One thing after the other: a key of a quick user acts on what was typed before it, on a page that is there.

Without Textual: what has to settle before a turn is the screen's to know.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager


class Turns:
    """Keys on a busy machine wait for their turn. Every action of the wizard takes one."""

    def __init__(self, settle: Callable[[], Awaitable[None]]) -> None:
        """``settle`` is awaited at the beginning of every turn: afterwards the answers have all that was typed."""
        self._settle = settle
        self._lock = asyncio.Lock()

    @property
    def busy(self) -> bool:
        """Whether a turn is under way."""
        return self._lock.locked()

    @asynccontextmanager
    async def take(self) -> AsyncIterator[None]:
        """Nothing else is under way, and what was typed before is taken."""
        async with self._lock:
            await self._settle()
            yield
