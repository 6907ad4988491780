"""Documents that hold a piece of an evaluation prompt, found by the words that they share in a row.

A document is contaminated if it has 13 words in a row in common with a prompt (Brown et al., 2020,
appendix C), or the whole of a prompt of 8 to 12 words. Shorter prompts match by chance and are not
looked for. Words are what ASCII punctuation and white space leave, without case in ASCII: bytes are
translated and split in C, since every document of a corpus is looked through.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable
from itertools import repeat
from string import ascii_letters, digits

import numpy as np
import numpy.typing as npt

NUM_WORDS = 13
_SHORTEST = 8
_WORD = (ascii_letters + digits + "_").encode()
_TABLE = bytes(b if b >= 128 or b in _WORD else 32 for b in range(256)).lower()
#: An odd factor, so that the order of the words counts; products wrap around at 64 bits.
_FACTOR = 0x9E3779B97F4A7C15
#: A table of bits tells most n-grams apart from the prompts' before they are searched for.
_BITS = 22


class Overlap:
    """The n-grams of evaluation prompts."""

    def __init__(self, prompts: Iterable[str] = ()) -> None:
        self._words: dict[bytes, int] = {}
        numbered: dict[int, list[npt.NDArray[np.int64]]] = defaultdict(list)
        for words in map(_words, prompts):
            if len(words) >= _SHORTEST:
                ids = [self._words.setdefault(word, len(self._words) + 1) for word in words]
                numbered[min(len(words), NUM_WORDS)].append(np.asarray(ids, dtype=np.int64))
        # Number 0 is every word that no prompt has.
        self._codes = np.random.default_rng(0).integers(1 << 63, size=len(self._words) + 1, dtype=np.uint64)
        self._grams = {n: np.unique(np.concatenate([self._hash(i, n) for i in ids])) for n, ids in numbered.items()}
        self._table = {n: _bits(grams) for n, grams in self._grams.items()}

    def __bool__(self) -> bool:
        """Whether there is anything to look for."""
        return bool(self._grams)

    @property
    def digest(self) -> str:
        """16 hexadecimal digits that name what is looked for; empty where that is nothing."""
        if not self:
            return ""
        whole = hashlib.sha256(b"\0".join(self._words))
        for n, grams in sorted(self._grams.items()):
            whole.update(n.to_bytes(2, "big") + grams.tobytes())
        return whole.hexdigest()[:16]

    def contaminates(self, text: str) -> bool:
        """Whether ``text`` holds an n-gram of a prompt."""
        if not self:
            return False
        words = _words(text)
        ids = np.fromiter(map(self._words.get, words, repeat(0)), dtype=np.int64, count=len(words))
        return any(self._found(ids, n) for n in self._grams)

    def _found(self, ids: npt.NDArray[np.int64], n: int) -> bool:
        hashes = self._hash(ids, n)
        likely = hashes[self._table[n][hashes >> np.uint64(64 - _BITS)]]
        known = self._grams[n]
        return bool((known[np.searchsorted(known, likely).clip(max=len(known) - 1)] == likely).any())

    def _hash(self, ids: npt.NDArray[np.int64], n: int) -> npt.NDArray[np.uint64]:
        """A number of 64 bits for each ``n`` words in a row of ``ids``; of fewer words, none."""
        codes = self._codes[ids]
        return _rolling(codes, n) if len(ids) >= n else codes[:0]


def _rolling(codes: npt.NDArray[np.uint64], n: int) -> npt.NDArray[np.uint64]:
    """Σ codes[i + j] · factor^(n − 1 − j) over j < n, for each i: by halves, in about 2 log n passes."""
    if n == 1:
        return codes
    half = n // 2
    left = _rolling(codes, half)
    pair = left[: len(left) - half] * np.uint64(pow(_FACTOR, half, 1 << 64)) + left[half:]
    return pair if n % 2 == 0 else pair[:-1] * np.uint64(_FACTOR) + codes[n - 1 :]


def _words(text: str) -> list[bytes]:
    return text.encode("utf-8", "replace").translate(_TABLE).split()


def _bits(grams: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
    table = np.zeros(1 << _BITS, dtype=bool)
    table[grams >> np.uint64(64 - _BITS)] = True
    return table
