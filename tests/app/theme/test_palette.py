"""The token states can be told apart by every eye and without any colour."""

from __future__ import annotations

from itertools import combinations
from math import atan2, cos, degrees, exp, hypot, radians, sin, sqrt

import pytest
from textual.theme import Theme

from fastdraft_app.theme.palette import look, theme_variables
from fastdraft_app.theme.themes import BASIC, DARK, LIGHT
from fastdraft_core.token_states import JUDGED, PENDING, STATES, token_style

RGB = tuple[float, float, float]
# Linear-light matrices of complete dichromacy (Machado, Oliveira and Fernandes, 2009).
VISIONS = {
    "normal": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "protan": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "deutan": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
    "tritan": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.303900)),
}


def linear(colour: str) -> RGB:
    """A colour in linear light."""
    red, green, blue = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return _linear(red), _linear(green), _linear(blue)


def _linear(value: float) -> float:
    return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4


def luminance(colour: str) -> float:
    """Relative luminance."""
    red, green, blue = linear(colour)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """Contrast ratio of WCAG."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def seen(colour: str, vision: str) -> RGB:
    """A colour as an eye with this vision sees it."""
    red, green, blue = (
        min(max(sum(weight * part for weight, part in zip(row, linear(colour), strict=True)), 0.0), 1.0)
        for row in VISIONS[vision]
    )
    return red, green, blue


def lab(colour: RGB) -> RGB:
    """CIE L*a*b* of linear light."""
    red, green, blue = colour
    x = (0.4124 * red + 0.3576 * green + 0.1805 * blue) / 0.95047
    y = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    z = (0.0193 * red + 0.1192 * green + 0.9505 * blue) / 1.08883
    fx, fy, fz = (value ** (1 / 3) if value > 0.008856 else 7.787 * value + 16 / 116 for value in (x, y, z))
    return 116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)


def ciede2000(one: RGB, other: RGB) -> float:
    """The colour difference of that name."""
    (l1, a1, b1), (l2, a2, b2) = one, other
    chroma = (hypot(a1, b1) + hypot(a2, b2)) / 2
    stretch = 1 + (1 - sqrt(chroma**7 / (chroma**7 + 25**7))) / 2
    a1, a2 = a1 * stretch, a2 * stretch
    c1, c2 = hypot(a1, b1), hypot(a2, b2)
    h1, h2 = degrees(atan2(b1, a1)) % 360, degrees(atan2(b2, a2)) % 360
    turn = (h2 - h1 + 180) % 360 - 180 if c1 * c2 else 0.0
    hue = h1 + turn / 2 if c1 * c2 else h1 + h2
    dh = 2 * sqrt(c1 * c2) * sin(radians(turn) / 2)
    mean_l, mean_c = (l1 + l2) / 2, (c1 + c2) / 2
    t = (
        1 - 0.17 * cos(radians(hue - 30)) + 0.24 * cos(radians(2 * hue))
        + 0.32 * cos(radians(3 * hue + 6)) - 0.20 * cos(radians(4 * hue - 63))
    )  # fmt: skip
    sl = 1 + 0.015 * (mean_l - 50) ** 2 / sqrt(20 + (mean_l - 50) ** 2)
    sc, sh = 1 + 0.045 * mean_c, 1 + 0.015 * mean_c * t
    rotation = -2 * sqrt(mean_c**7 / (mean_c**7 + 25**7)) * sin(radians(60 * exp(-(((hue % 360 - 275) / 25) ** 2))))
    dl, dc = (l2 - l1) / sl, (c2 - c1) / sc
    return sqrt(dl**2 + dc**2 + (dh / sh) ** 2 + rotation * dc * dh / sh)


def test_distance_formula() -> None:
    """The distance used below is CIEDE2000: it gives the published values of its test data."""
    assert ciede2000((50, 2.6772, -79.7751), (50, 0, -82.7485)) == pytest.approx(2.0425, abs=1e-4)
    assert ciede2000((50, 2.5, 0), (73, 25, -18)) == pytest.approx(27.1492, abs=1e-4)
    assert ciede2000((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387)) == pytest.approx(1.2644, abs=1e-4)


@pytest.mark.parametrize("vision", VISIONS)
@pytest.mark.parametrize("dark", [True, False])
def test_states_stay_apart_for_every_eye(vision: str, dark: bool) -> None:
    """A colour-blind user can tell accepted from rejected, and every other pair, by colour alone."""
    for one, other in combinations(JUDGED, 2):
        colours = [seen(state.dark if dark else state.light, vision) for state in (one, other)]
        assert ciede2000(lab(colours[0]), lab(colours[1])) >= 10, (one.name, other.name)


@pytest.mark.parametrize("theme", [DARK, LIGHT])
def test_every_colour_can_be_read_on_every_ground(theme: Theme) -> None:
    """Tokens, muted words and keys keep a contrast of 4.5 on the theme's grounds."""
    colours = [*theme_variables(look(theme)).values(), theme.foreground, theme.primary, theme.success]
    for colour in [*colours, theme.warning, theme.error]:
        for ground in (theme.background, theme.surface):
            assert contrast(colour, ground) >= 4.5, (colour, ground)
    for name in ("footer-key-foreground", "footer-description-foreground"):
        assert contrast(theme.variables[name], theme.variables["footer-background"]) >= 4.5


def test_states_differ_without_colour() -> None:
    """With NO_COLOR every state has its own attribute, and its own glyph in both character sets."""
    for name in ("attribute", "glyph", "ascii_glyph"):
        values = [getattr(state, name) for state in STATES.values()]
        assert len(set(values)) == len(values)
    assert all(state.ascii_glyph.isascii() for state in STATES.values())
    styles = [token_style(name, "dark", dim=True).without_color for name in STATES]
    assert len(set(styles)) == len(styles)


def test_on_a_poor_terminal_the_states_are_the_specified_basic_colours() -> None:
    """With 16 colours every judged state still has one of its own."""
    assert [state.basic for state in JUDGED] == ["green", "red", "bright_black", "bright_yellow", "bright_blue"]
    assert look(BASIC) == "16"
    colours = [token_style(state.name, "16").color for state in JUDGED]
    assert all(colour is not None and colour.is_system_defined for colour in colours)


def test_palette_is_the_specified_one() -> None:
    """The colours are the measured ones of the specification, not ones that look similar."""
    assert [(state.dark, state.light, state.attribute, state.glyph, state.ascii_glyph) for state in JUDGED] == [
        ("#32ce8e", "#01643e", "", "●", "o"),
        ("#f06a29", "#8b2400", "strike", "✗", "x"),
        ("#8a8a8a", "#6e6e6e", "dim strike", "·", "."),
        ("#fadc15", "#7e6f09", "bold", "◇", "*"),
        ("#8e95ff", "#090076", "underline", "+", "+"),
    ]
    assert (PENDING.attribute, PENDING.glyph, PENDING.ascii_glyph) == ("italic", "○", "?")
