"""The themes of the app: calm grounds, so that colour is left to the tokens."""

from __future__ import annotations

from typing import ClassVar

from textual.scrollbar import ScrollBar, ScrollBarRender
from textual.theme import BUILTIN_THEMES, Theme


def _scrollbar(ground: str, bar: str, hover: str, active: str) -> dict[str, str]:
    """Scroll bars that do not stand out."""
    grounds = ("background", "background-hover", "background-active", "corner-color")
    bars = {"scrollbar": bar, "scrollbar-hover": hover, "scrollbar-active": active}
    return {**bars, **{f"scrollbar-{name}": ground for name in grounds}}


DARK = Theme(
    name="fastdraft-dark",
    primary="#7cb7d8",
    secondary="#5b7f99",
    accent="#7cb7d8",
    foreground="#d6dae1",
    background="#12151a",
    surface="#171b21",
    panel="#1f242c",
    success="#32ce8e",
    warning="#e3b341",
    error="#f0766b",
    dark=True,
    variables={
        "border-blurred": "#343c48",
        "footer-background": "#171b21",
        "footer-key-foreground": "#7cb7d8",
        "footer-description-foreground": "#98a1ae",
        "block-cursor-background": "#7cb7d8",
        "block-cursor-foreground": "#12151a",
        "input-selection-background": "#7cb7d8 30%",
        **_scrollbar("#171b21", "#343c48", "#98a1ae", "#7cb7d8"),
    },
)
"""Light text on a blue-grey ground."""

LIGHT = Theme(
    name="fastdraft-light",
    primary="#1f6487",
    secondary="#6d93aa",
    accent="#1f6487",
    foreground="#21262d",
    background="#fcfcfa",
    surface="#f6f6f3",
    panel="#ecece8",
    success="#01643e",
    warning="#8a5a00",
    error="#a8281c",
    dark=False,
    variables={
        "border-blurred": "#c9cdd2",
        "footer-background": "#f1f1ee",
        "footer-key-foreground": "#1f6487",
        "footer-description-foreground": "#5a6470",
        "block-cursor-background": "#1f6487",
        "block-cursor-foreground": "#fcfcfa",
        "input-selection-background": "#1f6487 25%",
        **_scrollbar("#f6f6f3", "#c9cdd2", "#5a6470", "#1f6487"),
    },
)
"""Dark text on a warm white ground."""

BASIC = Theme(
    name="fastdraft-16",
    ansi=True,
    primary="ansi_cyan",
    secondary="ansi_cyan",
    accent="ansi_cyan",
    foreground="ansi_default",
    background="ansi_default",
    surface="ansi_default",
    panel="ansi_default",
    boost="ansi_default",
    success="ansi_green",
    warning="ansi_yellow",
    error="ansi_bright_red",
    dark=True,
    variables={
        **BUILTIN_THEMES["ansi-dark"].variables,
        "border-blurred": "ansi_bright_black",
        "footer-background": "ansi_default",
        "footer-key-foreground": "ansi_cyan",
        "footer-description-foreground": "ansi_default",
        "block-cursor-background": "ansi_cyan",
        "block-cursor-foreground": "ansi_black",
        "input-cursor-background": "ansi_white",
        "input-cursor-foreground": "ansi_black",
        "input-selection-background": "ansi_cyan",
        "input-selection-foreground": "ansi_black",
        "screen-selection-background": "ansi_cyan",
        "screen-selection-foreground": "ansi_black",
        **_scrollbar("ansi_default", "ansi_bright_black", "ansi_white", "ansi_cyan"),
    },
)
"""The terminal's own 16 colours on its own ground."""

THEMES: dict[str, Theme] = {"dark": DARK, "light": LIGHT, "16": BASIC}
"""By the name in the settings, in the order in which ``t`` goes through them."""

POOR = ("standard", "windows")
"""What Rich calls a terminal of 16 colours."""


def chosen(name: str, colours: str | None) -> Theme:
    """The theme of that name; ``auto`` looks at the colours that the terminal has."""
    return THEMES.get(name) or (BASIC if colours in POOR else DARK)


def following(theme: str) -> str:
    """The name in the settings of the theme after the one called ``theme``."""
    names = list(THEMES)
    place = next((index for index, name in enumerate(names) if THEMES[name].name == theme), -1)
    return names[(place + 1) % len(names)]


class AsciiScrollBar(ScrollBarRender):
    """A scroll bar without the block characters at its ends."""

    VERTICAL_BARS: ClassVar[list[str]] = [" "] * len(ScrollBarRender.VERTICAL_BARS)
    HORIZONTAL_BARS: ClassVar[list[str]] = [" "] * len(ScrollBarRender.HORIZONTAL_BARS)


def draw_scroll_bars(ascii_only: bool) -> None:
    """With which characters every scroll bar of this process is drawn."""
    ScrollBar.renderer = AsciiScrollBar if ascii_only else ScrollBarRender
