"""Text of files and models for a terminal: it may show everything and do nothing."""

from __future__ import annotations


def printable(text: str) -> str:
    """``text`` with control characters as visible pictures; newlines and tabs stay."""
    return "".join(c if c.isprintable() or c in "\n\t" else _picture(c) for c in text)


def _picture(character: str) -> str:
    code = ord(character)
    return chr(0x2400 + code) if code < 0x20 else "\N{REPLACEMENT CHARACTER}"
