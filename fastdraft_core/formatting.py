"""Words and figures as people read them, in one form everywhere; text of models and files made safe to show.

Nothing that such a text contains may reach the terminal as a command. Control characters become pictures (``␛``),
characters that take no room or turn the writing direction become their code in guillemets (``‹200B›``). Newline and tab
stay for the layout.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from rich.cells import cell_len

from fastdraft_core.errors import FastdraftError

_SYMBOL_FOR_DELETE = "\u2421"
_CONTROL_PICTURES = 0x2400
_VARIATION_SELECTORS = re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef]")
_INVISIBLE = {"Cc", "Cf", "Cs", "Cn", "Co", "Zl", "Zp"}


def safe(text: str, ascii_only: bool = False) -> str:
    """``text`` with every dangerous or invisible character replaced by a visible picture."""
    if text.isprintable() and not _VARIATION_SELECTORS.search(text):
        return text
    return "".join([_picture(character, ascii_only) for character in text])


def one_line(text: str, newline: str, tab: str, ascii_only: bool = False) -> str:
    """``text`` made safe and put on one line, with visible line ends and tabs."""
    return safe(text, ascii_only).replace("\n", newline).replace("\t", tab)


@lru_cache(maxsize=4096)
def _picture(character: str, ascii_only: bool) -> str:
    code = ord(character)
    if character in "\n\t":
        return character
    if code < 0x20 or code == 0x7F:
        return _control_picture(code, ascii_only)
    if unicodedata.category(character) in _INVISIBLE or _VARIATION_SELECTORS.match(character):
        return f"<{code:X}>" if ascii_only else f"‹{code:X}›"
    return " " if unicodedata.category(character) == "Zs" else character


def _control_picture(code: int, ascii_only: bool) -> str:
    if ascii_only:
        return f"^{chr(code ^ 0x40)}"
    return _SYMBOL_FOR_DELETE if code == 0x7F else chr(_CONTROL_PICTURES + code)


def elide(text: str, width: int, more: str = "…") -> str:
    """``text`` cut to ``width`` cells, with ``more`` at the end where something was cut."""
    if cell_len(text) <= width:
        return text
    kept: list[str] = []
    room = width - cell_len(more)
    for character in text:
        room -= cell_len(character)
        if room < 0:
            break
        kept.append(character)
    return "".join(kept).rstrip() + more if width >= cell_len(more) else ""


def count(number: float) -> str:
    """A large number in three figures: 22.9M, 850k, 512."""
    for size, letter in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            scaled = number / size
            return f"{scaled:.0f}{letter}" if scaled >= 100 else f"{scaled:.1f}{letter}"
    return f"{number:.0f}"


def in_bytes(num_bytes: float) -> str:
    """Bytes in the unit that suits them: ``640 bytes``, ``12 kB``, ``3.4 MB``, ``612 MB``, ``1.43 GB`` (powers of 1000)."""
    if num_bytes >= 1e9:
        return f"{num_bytes / 1e9:.2f} GB"
    if num_bytes >= 1e6:
        return f"{num_bytes / 1e6:.{0 if num_bytes >= 1e7 else 1}f} MB"
    return f"{num_bytes / 1e3:.0f} kB" if num_bytes >= 1e3 else f"{num_bytes:.0f} bytes"


def span(seconds: float) -> str:
    """A length of time to two figures that matter: ``42 s``, ``7 min``, ``3 h 20 min``, ``2 d 5 h``."""
    minutes = round(seconds / 60)
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes // 1440} d {minutes % 1440 // 60} h"


def percent(share: float) -> str:
    """A share as whole percent, with its unit."""
    return f"{share * 100:.0f} %"


def context_room(given: int, asked: int, context_length: int) -> str:
    """A sentence where a context does not hold ``given`` tokens and the new ones that are ``asked`` for; else nothing."""
    # The last token is told but never read.
    room = context_length - given + 1
    if asked <= room:
        return ""
    return (
        f"The context of {context_length:,} tokens holds the {given:,} given ones and {room:,} new ones, not {asked:,}."
    )


def short(name: str) -> str:
    """The part of a model's name that tells it from its siblings."""
    return name.rstrip("/").rpartition("/")[2].rpartition(":")[2] or name


def parse_count(value: int | str) -> int:
    """``12M`` → 12,000,000; also K and B, and plain integers."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMB]?)\s*", str(value), re.IGNORECASE)
    if not match or (count := round(float(match[1]) * {"": 1, "K": 1e3, "M": 1e6, "B": 1e9}[match[2].upper()])) < 1:
        raise FastdraftError(f"{value!r} is not a number of tokens; write for example 500K, 12M or 5B.")
    return count
