"""A full memory as one sentence, whatever a device's library calls it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

from fastdraft_core.errors import FastdraftError


@contextlib.contextmanager
def memory_for(what: str, advice: str) -> Iterator[None]:
    """Around work that may need more memory than there is: ``what`` does not fit, and by ``advice`` it might.

    Raises:
        FastdraftError: the memory was full.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        # A CPU's allocator, and Gaudi's, raise plain errors.
        words = str(error).lower()
        known = isinstance(error, torch.OutOfMemoryError | MemoryError)
        if not known and not ("memory" in words and "alloc" in words):
            raise
        raise FastdraftError(f"The memory is full: there is no room for {what}. {advice}") from error
