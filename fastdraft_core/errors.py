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
