"""What became of a token, and how that looks in a terminal: colour, attribute and glyph.

Every pair of states stays apart in colour (also for colour-blind eyes), in attribute and in glyph,
so the picture can be read with NO_COLOR and in ASCII.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from rich.style import Style


@dataclass(frozen=True)
class TokenState:
    """What became of a token and how that looks."""

    name: str
    meaning: str
    dark: str
    light: str
    basic: str
    """One of the 16 colours that every terminal has, by its ANSI name."""
    attribute: str
    glyph: str
    ascii_glyph: str


ACCEPTED = TokenState("accepted", "draft token kept", "#32ce8e", "#01643e", "green", "", "●", "o")
REJECTED = TokenState(
    "rejected", "first draft token the target refused", "#f06a29", "#8b2400", "red", "strike", "✗", "x"
)
DISCARDED = TokenState(
    "discarded", "drafted after it, never judged", "#8a8a8a", "#6e6e6e", "bright_black", "dim strike", "·", "."
)
CORRECTED = TokenState(
    "corrected", "the target's token in its place", "#fadc15", "#7e6f09", "bright_yellow", "bold", "◇", "*"
)
BONUS = TokenState(
    "bonus", "extra token after a fully accepted block", "#8e95ff", "#090076", "bright_blue", "underline", "+", "+"
)
PENDING = TokenState("pending", "drafted, not judged yet", "#98a1ae", "#5a6470", "bright_black", "italic", "○", "?")

STATES = {state.name: state for state in (ACCEPTED, REJECTED, DISCARDED, CORRECTED, BONUS, PENDING)}
"""Every state by its name in the events."""

JUDGED = (ACCEPTED, REJECTED, DISCARDED, CORRECTED, BONUS)
"""The states a finished block holds, in the order of the legend."""

Look = Literal["dark", "light", "16"]
"""Which column of colours is drawn with."""


def colour(state: TokenState, look: Look) -> str:
    """The colour of ``state``, as Rich names it."""
    return {"dark": state.dark, "light": state.light, "16": state.basic}[look]


@lru_cache(maxsize=64)
def token_style(kind: str, look: Look, dim: bool = False) -> Style:
    """How text of ``kind`` looks: a state's name, ``prompt`` or ``plain``.

    Textual blends ``dim`` into the background, below readable contrast. The discarded grey already
    is the dim form in colour, so ``dim`` is drawn only on request: without colour.
    """
    if kind == "plain":
        return Style()
    if kind == "prompt":
        return Style(color=colour(PENDING, look))
    state = STATES[kind]
    words = [word for word in state.attribute.split() if dim or word != "dim"]
    return Style.parse(" ".join([*words, colour(state, look)]))
