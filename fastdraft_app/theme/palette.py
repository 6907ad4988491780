"""The token states: colour, attribute and glyph; and the other marks the app draws with.

Every pair of states stays apart in colour (also for colour-blind eyes), in attribute and in glyph,
so the picture can be read with NO_COLOR and in ASCII.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

from rich.style import Style

if TYPE_CHECKING:
    from textual.theme import Theme


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

SERIES = (BONUS, CORRECTED, ACCEPTED, REJECTED)
"""The colours of the lines of a chart: those that were measured to stay apart. Their marks differ as well."""

MUTED = PENDING
"""Words beside the tokens look like what is not judged yet."""

Look = Literal["dark", "light", "16"]
"""Which column of colours is drawn with."""


def look(theme: Theme) -> Look:
    """The colours that go with ``theme``."""
    if theme.ansi:
        return "16"
    return "dark" if theme.dark else "light"


def colour(state: TokenState, look: Look) -> str:
    """The colour of ``state``, as Rich names it."""
    return {"dark": state.dark, "light": state.light, "16": state.basic}[look]


def glyph(state: str, ascii_only: bool) -> str:
    """The one-cell mark of ``state``; of a token where nothing was drafted, a dash."""
    if state == "plain":
        return "-"
    entry = STATES[state]
    return entry.ascii_glyph if ascii_only else entry.glyph


@lru_cache(maxsize=64)
def token_style(kind: str, look: Look, dim: bool = False) -> Style:
    """How text of ``kind`` looks: a state's name, ``prompt`` or ``plain``.

    Textual blends ``dim`` into the background, below readable contrast. The discarded grey already
    is the dim form in colour, so ``dim`` is drawn only on request: without colour.
    """
    if kind == "plain":
        return Style()
    if kind == "prompt":
        return Style(color=colour(MUTED, look))
    state = STATES[kind]
    words = [word for word in state.attribute.split() if dim or word != "dim"]
    return Style.parse(" ".join([*words, colour(state, look)]))


@lru_cache(maxsize=32)
def glyph_style(state: str, look: Look) -> Style:
    """The colour of a state's glyph, which needs no attribute to be told apart."""
    if state == "plain":
        return Style(color=colour(MUTED, look))
    return Style(color=colour(STATES[state], look))


def theme_variables(look: Look) -> dict[str, str]:
    """The palette as style sheet variables: ``$token-accepted`` and so on, and ``$muted``."""
    prefix = "ansi_" if look == "16" else ""
    colours = {f"token-{state.name}": prefix + colour(state, look) for state in STATES.values()}
    return {**colours, "muted": prefix + colour(MUTED, look)}


@dataclass(frozen=True)
class Marks:
    """The marks outside the tokens."""

    faster: str = "▲"
    slower: str = "▼"
    times: str = "×"
    same: str = "✔"
    alike: str = "≈"
    differs: str = "≠"
    done: str = "✓"
    warned: str = "!"
    failed: str = "✗"
    play: str = "▶"
    pause: str = "⏸"
    stop: str = "■"
    bars: str = "━═╍"
    """Parts of a bar, one mark for each, so that they differ without colour."""
    rail: str = "─"
    notch: str = "╋"
    """A place on a bar that matters, such as break-even."""
    levels: str = "▁▂▃▄▅▆▇█"
    """Heights of one cell, for small charts."""
    cursor: str = "▌"
    newline: str = "⏎"
    tab: str = "→"
    more: str = "…"
    at_most: str = "≤"
    dot: str = "·"
    gamma: str = "γ"
    tau: str = "τ"
    spinner: str = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
    points: str = "●■▲◆○□△◇"
    """Of the lines of a chart, in the order of their colours; more than these, since colours come round again."""
    guess: str = "~"
    """Before a figure that was predicted, not measured."""
    unknown: str = "·"
    plus_minus: str = "±"
    dash: str = "–"
    """Between the ends of an interval; alone, where there is no figure yet."""


UNICODE_MARKS = Marks()
ASCII_MARKS = Marks(
    faster="^",
    slower="v",
    times="x",
    same="=",
    alike="~",
    differs="!",
    done="+",
    failed="x",
    play=">",
    pause="|",
    stop="#",
    bars="=#~",
    rail="-",
    notch="|",
    levels=".:-=+*#@",
    cursor="_",
    newline="\\n",
    tab="\\t",
    more="..",
    at_most="<=",
    dot=".",
    gamma="gamma",
    tau="tau",
    spinner="|/-\\",
    points="o#^%*@$&",
    unknown=".",
    plus_minus="+-",
    dash="-",
)


def marks(ascii_only: bool) -> Marks:
    """The marks for this terminal."""
    return ASCII_MARKS if ascii_only else UNICODE_MARKS
