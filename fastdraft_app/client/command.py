"""The command line ``fastdraft`` of this very installation, as a process of its own."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Sequence
from typing import IO, Any, Literal, NamedTuple

from fastdraft_core.jobs.processes import python_environment

COMMAND = (sys.executable, "-P", "-c", "from fastdraft_core.cli import main; main()")
SENTENCE = "fastdraft: "
"""How the command line begins the sentence that says what went wrong."""
#: Windows has no signal for another process, but a Ctrl-Break for a group of processes.
STOP = getattr(signal, "CTRL_BREAK_EVENT", signal.SIGINT)
_APART: dict[str, Any] = (
    {"creationflags": getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)}
    if sys.platform == "win32"
    else {"start_new_session": True}
)


class Ended(NamedTuple):
    """A process that has ended: its exit code, and the lines of its output and of its standard error."""

    code: int
    lines: list[str]
    talk: list[str]


class Outcome(NamedTuple):
    """Whether something was done, and what to say then: what came of it, or why not."""

    done: bool
    words: str

    @property
    def severity(self) -> Literal["information", "error"]:
        """How a toast looks that says it."""
        return "information" if self.done else "error"


async def spawn(*arguments: str, command: Sequence[str] = (), talk: int | IO[bytes] = PIPE) -> Process:
    """Start ``fastdraft ARGUMENTS``, out of reach of the terminal's signals; what it says on standard error goes to ``talk``.

    ``command`` is what to start in place of ``COMMAND``.

    Raises:
        OSError: it cannot be started.
    """
    return await asyncio.create_subprocess_exec(
        *(command or COMMAND), *arguments, stdin=DEVNULL, stdout=PIPE, stderr=talk, env=python_environment(), **_APART
    )


async def fastdraft(*arguments: str, outlive: bool = True) -> Ended:
    """Run ``fastdraft ARGUMENTS`` to its end.

    With ``outlive`` it goes on when nobody waits for it any more, such as when the app ends; else it is killed then.

    Raises:
        OSError: it cannot be started.
    """
    process = await spawn(*arguments)
    try:
        output, talk = await process.communicate()
    except asyncio.CancelledError:
        if not outlive:
            process.kill()
        raise
    code = process.returncode
    assert code is not None
    return Ended(code, lines(output), lines(talk))


def lines(data: bytes) -> list[str]:
    """What a process wrote, line by line."""
    return data.decode("utf-8", errors="replace").strip().splitlines()


def last_words(talk: Sequence[str], otherwise: str) -> str:
    """The sentence that a process ended with; ``otherwise`` where it said nothing."""
    return talk[-1].removeprefix(SENTENCE) if talk else otherwise
