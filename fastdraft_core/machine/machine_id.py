"""Which machine this is, where several share one folder of jobs."""

from __future__ import annotations

import hashlib
import platform
from functools import cache
from pathlib import Path

_INSTALLED = Path("/etc/machine-id")
#: The kernel's fixed number of the namespace of processes that every machine begins with; a container has another one.
_FIRST_NAMESPACE = "pid:[4026531836]"
_NAMESPACE = Path("/proc/self/ns/pid")


@cache
def machine_id() -> str:
    """What tells this machine from others, and stays when it is renamed or started again; its name where nothing does.

    It is the id of the installed system, hashed, since that is not for everybody to read. In a container the file is the
    image's, which others may run too; containers have names that last.
    """
    try:
        installed = _INSTALLED.read_text(encoding="ascii").strip() if _is_whole_machine() else ""
    except (OSError, UnicodeDecodeError):
        installed = ""
    if not installed:
        return platform.node()
    return hashlib.blake2b(installed.encode(), key=b"fastdraft", digest_size=8).hexdigest()


def _is_whole_machine() -> bool:
    """Whether this process sees all of the machine's processes."""
    return str(_NAMESPACE.readlink()) == _FIRST_NAMESPACE
