"""What the app draws with: the colours of its themes and charts, by the token states, and marks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from rich.style import Style

from fastdraft_core.token_states import ACCEPTED, BONUS, CORRECTED, PENDING, REJECTED, STATES, Look, colour

if TYPE_CHECKING:
    from textual.theme import Theme


SERIES = (BONUS, CORRECTED, ACCEPTED, REJECTED)
"""The colours of the lines of a chart: those that were measured to stay apart. Their marks differ as well."""

MUTED = PENDING
"""Words beside the tokens look like what is not judged yet."""


def look(theme: Theme) -> Look:
    """The colours that go with ``theme``."""
    if theme.ansi:
        return "16"
    return "dark" if theme.dark else "light"


def glyph(state: str, ascii_only: bool) -> str:
    """The one-cell mark of ``state``; of a token where nothing was drafted, a dash."""
    if state == "plain":
        return "-"
    entry = STATES[state]
    return entry.ascii_glyph if ascii_only else entry.glyph


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
