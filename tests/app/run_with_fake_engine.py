"""The real program on the fake engine, for tests in a pseudo-terminal.

``python -m tests.app.run_with_fake_engine [--broken-view] [ARGUMENTS OF THE APP] [-- OPTIONS OF THE FAKE ENGINE]``;
with ``--broken-view`` it meets an error when ``v`` is pressed.
"""

from __future__ import annotations

import sys
from functools import partial

from fastdraft_app import app
from fastdraft_app.client.engine import EngineClient
from fastdraft_app.live.screen import LiveScreen

from .helpers import fake_command


def _fail(_: LiveScreen) -> None:
    raise RuntimeError("an error made for a test")


if __name__ == "__main__":
    given = sys.argv[1:]
    end = given.index("--") if "--" in given else len(given)
    arguments, fake = given[:end], given[end + 1 :]
    app.EngineClient = partial(EngineClient, command=fake_command(*fake))  # type: ignore[misc, assignment]
    if "--broken-view" in arguments:
        arguments.remove("--broken-view")
        LiveScreen.action_view = _fail  # type: ignore[method-assign]
    sys.exit(app.main(arguments))
