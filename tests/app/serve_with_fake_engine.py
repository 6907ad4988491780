"""``fastdraft-app serve`` on the fake engine: ``python -m tests.app.serve_with_fake_engine PORT``.

With ``page`` instead of a port it is the app of one page.
"""

from __future__ import annotations

import os
import shlex
import sys
from functools import partial

from .helpers import fake_command


def page() -> int:
    """The app, speaking textual-serve's protocol."""
    os.environ["TEXTUAL_DRIVER"] = "fastdraft_app.web.driver:PageDriver"
    from fastdraft_app import app
    from fastdraft_app.client.engine import EngineClient

    app.EngineClient = partial(EngineClient, command=fake_command("--speed", "5"))  # type: ignore[misc, assignment]
    return app.main(["--length", "40", "--no-intro"])


def serve(port: int) -> int:
    """The server."""
    from fastdraft_app.web.serve import PageServer

    PageServer(f"exec {shlex.join([sys.executable, '-m', __spec__.name, 'page'])}", "127.0.0.1", port).serve()
    return 0


if __name__ == "__main__":
    sys.exit(page() if sys.argv[1] == "page" else serve(int(sys.argv[1])))
