"""A pair of tables with a tokenizer of five letters: as much of a pair as a measurement needs."""

from __future__ import annotations

from fastdraft_core.engine.pair import Pair
from tests.decoding.table import pair_of_tables


class Letters:
    """A tokenizer of five letters."""

    chat_template = None

    def __call__(self, text: str) -> Letters:
        self.input_ids = ["abcde".index(c) for c in text]
        return self


def letters_pair(seed: int = 0) -> Pair:
    """Two tables that stop at 3, were stops not ignored."""
    target, draft = pair_of_tables(seed=seed)
    return Pair(target, draft, Letters(), frozenset({3}), 1, 0.0)  # type: ignore[arg-type]
