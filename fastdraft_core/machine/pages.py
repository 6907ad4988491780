"""Memory that a step frees is kept for the next one, instead of going back to the system and being zeroed again."""

from __future__ import annotations

import contextlib
import ctypes
import sys

#: Of glibc's ``mallopt(3)``.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4
_NEVER, _NONE = -1, 0
_GROWTH = 64 << 20


def keep_pages() -> None:
    """Tell glibc's allocator so for the rest of this process; nothing where there is another one.

    Every step of training or writing makes and frees the same large tensors. As separate mappings they cost a page fault for each 4 KiB, every time.
    """
    if sys.platform != "linux":
        return
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_MMAP_MAX, _NONE)
        mallopt(_TRIM_THRESHOLD, _NEVER)
        mallopt(_TOP_PAD, _GROWTH)
