"""Numbers of tokens as people write them."""

from __future__ import annotations

import re

from fastdraft_core.errors import FastdraftError


def parse_count(value: int | str) -> int:
    """``12M`` → 12,000,000; also K and B, and plain integers."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMB]?)\s*", str(value), re.IGNORECASE)
    if not match or (count := round(float(match[1]) * {"": 1, "K": 1e3, "M": 1e6, "B": 1e9}[match[2].upper()])) < 1:
        raise FastdraftError(f"{value!r} is not a number of tokens; write for example 500K, 12M or 5B.")
    return count
