"""Model text is shown, never obeyed."""

from __future__ import annotations

import unicodedata

import pytest

from fastdraft_core.formatting import count, elide, one_line, safe


@pytest.mark.parametrize(
    "code", [*range(0x20), *range(0x7F, 0xA0), 0xAD, 0x200B, 0x200D, 0x202E, 0x2066, 0xFEFF, 0xFE0F]
)
def test_dangerous_characters_become_visible(code: int) -> None:
    """An untrained draft that emits ESC, a direction override or a zero-width character harms nothing."""
    if chr(code) in "\n\t":
        assert safe(chr(code)) == chr(code)
        return
    for ascii_only in (False, True):
        picture = safe(f"a{chr(code)}b", ascii_only)
        assert len(picture) > 2
        assert not any(unicodedata.category(character) in ("Cc", "Cf") for character in picture)
        assert picture.isascii() or not ascii_only


def test_ordinary_text_is_untouched() -> None:
    """Letters of every script, emoji and combining accents stay what they are."""
    for text in ("def f(x): return x", "Größe", "日本語", "e\u0301", "🙂", "[/INST] [red]x[/red]"):
        assert safe(text) == text


def test_one_line_shows_line_ends() -> None:
    """A prompt fits its line, and its line ends can be seen."""
    assert one_line("a\n\tb", "⏎", "→") == "a⏎→b"


def test_elide_counts_cells() -> None:
    """A cut name never overlaps its neighbour, wide characters included."""
    assert elide("abcdef", 4) == "abc…"
    assert elide("日本語", 4) == "日…"
    assert elide("abc", 3) == "abc"


def test_counts_are_short() -> None:
    """Parameter counts are given in three figures."""
    assert [count(n) for n in (512, 260_032, 22_900_000, 3_800_000_000)] == ["512", "260k", "22.9M", "3.8B"]
