"""The one exception a user may meet: a title, a reason and what to do about it."""

from __future__ import annotations


class FastdraftError(Exception):
    """A failure that the user can act on.

    ``message`` says what is wrong and what to do, in one or two clear sentences. Command line,
    engine and app all print it as it is and never print a traceback for it.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


def short_error(error: Exception) -> str:
    """What went wrong, in at most 200 characters of one line, to stand inside a sentence; the error's first line says it.

    Where that only announces what follows, by a colon, the next line says it too.
    """
    lines = _lines(error)
    announced = lines[:2] if lines[0].endswith(":") else lines[:1]
    return " ".join(announced)[:200].rstrip(".:")


def short_cause(error: Exception) -> str:
    """As ``short_error``, for OpenVINO: its last line tells the cause, and those before tell where in its source."""
    return _lines(error)[-1][:200].rstrip(".")


def _lines(error: Exception) -> list[str]:
    """The lines of an error's words, at least one."""
    return [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
