"""A name for a vocabulary: equal names, equal tokens id by id."""

from __future__ import annotations

import hashlib

import msgspec


def fingerprint(tokens: dict[int, str]) -> tuple[str, int]:
    """16 hex digits over the token of every id, and how many there are; empty and 0 where there are none."""
    if not tokens:
        return "", 0
    digest = hashlib.sha256(msgspec.json.encode(sorted(tokens.items(), key=lambda item: item[0])))
    return digest.hexdigest()[:16], len(tokens)
