"""Help made from the bindings that work on the screen below, and the meaning of the colours."""

from __future__ import annotations

from typing import ClassVar

from textual.app import App, ComposeResult
from textual.binding import ActiveBinding, Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Static

from fastdraft_app.dialogs.dialog import Dialog
from fastdraft_core.token_states import STATES, TokenState

KeyRow = tuple[Content, str]
"""What stands at the left, and what it means."""


class HelpScreen(Dialog[None]):
    """Keys and colours; any of escape, q, ? closes it."""

    CSS_PATH = "help.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,question_mark,f1", "dismiss(None)", "back", id="help.back", show=False, tooltip="close"),
    ]

    def __init__(self, below: Screen[object], *, ascii_only: bool) -> None:
        super().__init__()
        self._keys_here = list(below.active_bindings.values())
        self._ascii = ascii_only

    def compose(self) -> ComposeResult:
        """One scrolling page."""
        here = [active for active in self._keys_here if not isinstance(active.node, App)]
        everywhere = [active for active in self._keys_here if isinstance(active.node, App)]
        with VerticalScroll(id="page"):
            yield from _section("ON THIS SCREEN", self._keys(here))
            yield from _section("EVERYWHERE", self._keys(everywhere))
            yield from _section("TOKENS", self._colours())

    def on_mount(self) -> None:
        """Title and the way out."""
        page = self.query_one("#page")
        page.border_title = Content("Help")
        page.border_subtitle = Content("esc closes")

    def _keys(self, keys: list[ActiveBinding]) -> list[KeyRow]:
        rows: dict[str, list[str]] = {}
        for active in keys:
            binding = active.binding
            if binding.id is not None:
                words = active.tooltip or binding.tooltip or binding.description
                rows.setdefault(words, []).append(self.app.get_key_display(binding))
        return [(Content.styled(" ".join(keys), "bold $primary"), words) for words, keys in rows.items()]

    def _colours(self) -> list[KeyRow]:
        return [(self._state(state), state.meaning) for state in STATES.values()]

    def _state(self, state: TokenState) -> Content:
        colour = f"$token-{state.name}"
        glyph = state.ascii_glyph if self._ascii else state.glyph
        return Content.assemble((f"{glyph} ", colour), (state.name, f"{state.attribute.replace('dim ', '')} {colour}"))


def _section(title: str, rows: list[KeyRow]) -> ComposeResult:
    yield Static(Content.styled(title, "bold $muted"), classes="title")
    for name, words in rows:
        with Horizontal(classes="row"):
            yield Static(name, classes="name")
            yield Static(Content(words), classes="words")
