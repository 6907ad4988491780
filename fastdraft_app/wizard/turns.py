"""One thing after the other in the wizard: a key acts on what was typed before it, on a page that is there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from textual import on, work
from textual.dom import DOMNode
from textual.widgets import Input, Select

from fastdraft_app.dialogs.dialog import Dialog
from fastdraft_app.wizard.fields import FIELDS, STEPS, Field
from fastdraft_app.wizard.looks import WizardLooks, editor_id

_T = TypeVar("_T")


class WizardTurns(WizardLooks):
    """Keys of a quick user on a busy machine wait for their turn. Every action of the wizard takes one."""

    def __init__(self, *, ascii_only: bool) -> None:
        super().__init__(ascii_only=ascii_only)
        self._lock = asyncio.Lock()

    def answer(self, field: Field, text: str) -> None:
        """Somebody typed or chose this."""
        raise NotImplementedError

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Nothing else is under way, and the answers have all that was typed."""
        async with self._lock:
            await self._settle()
            yield

    async def _settle(self) -> None:
        """Keys that wait in a field are typed, and what the fields say is taken without waiting to be told of it."""
        for widget in self._way():
            done = asyncio.Event()
            if widget.call_later(done.set):
                await done.wait()
        for field in STEPS[self.step].fields:
            for editor in self.query(f"#{editor_id(field)}"):
                if isinstance(editor, Input | Select):
                    self.answer(field, str(editor.value))

    def _way(self) -> list[DOMNode]:
        """Widgets that a key goes through, from the one in focus to the page; each passes on what it made of it."""
        page = self.query_one("#page")
        way: list[DOMNode] = []
        for node in self.focused.ancestors_with_self if self.focused else ():
            if node is page:
                return way
            way += [node, node]
        return []

    @on(Input.Changed)
    @on(Select.Changed)
    def _answered(self, event: Input.Changed | Select.Changed) -> None:
        field = next((one for one in FIELDS.values() if event.control.id == editor_id(one)), None)
        # What a page said that is gone was taken when it went.
        if field is not None and any(editor is event.control for editor in self.query(f"#{editor_id(field)}")):
            self.answer(field, str(event.value))

    async def ask(self, make: Callable[[], Dialog[_T]], take: Callable[[_T], Awaitable[None]]) -> None:
        """Open a dialog, and ``take`` what it answers. Later keys are the dialog's; keys after its answer find that taken."""
        opened = asyncio.Event()
        self._asked(make, take, opened)
        await opened.wait()

    @work(group="ask")
    async def _asked(
        self, make: Callable[[], Dialog[_T]], take: Callable[[_T], Awaitable[None]], opened: asyncio.Event
    ) -> None:
        try:
            async with self.turn():
                dialog = make()
                answer = self.app.push_screen(dialog, wait_for_dismiss=True)
                dialog.call_later(opened.set)
                await take(await answer)
        finally:
            opened.set()
