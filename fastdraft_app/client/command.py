"""The command line ``fastdraft`` of this very installation, as a process of its own."""

from __future__ import annotations

import asyncio
import sys

from fastdraft_core.jobs.processes import python_environment

COMMAND = (sys.executable, "-P", "-c", "from fastdraft_core.cli import main; main()")


async def fastdraft(*arguments: str, outlive: bool = True) -> tuple[int, list[str], list[str]]:
    """Run ``fastdraft ARGUMENTS`` to its end: exit code, lines of output and of talk.

    With ``outlive`` it goes on when nobody waits for it any more, such as when the app ends; else it is killed then.

    Raises:
        OSError: it cannot be started.
    """
    process = await asyncio.create_subprocess_exec(
        *COMMAND, *arguments, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE, env=python_environment(), start_new_session=True,
    )  # fmt: skip
    try:
        output, talk = await process.communicate()
    except asyncio.CancelledError:
        if not outlive:
            process.kill()
        raise
    code = process.returncode
    assert code is not None
    return code, _lines(output), _lines(talk)


def _lines(data: bytes) -> list[str]:
    return data.decode("utf-8", errors="replace").strip().splitlines()
