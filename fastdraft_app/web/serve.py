"""``fastdraft-app serve``: the app in a browser on this machine.

Each page that is opened gets an app and an engine of its own; they end with the page. There is no
password, so the server listens on the loopback interface only and answers only pages of its own:
neither another site in the same browser (Origin) nor a name that points here (Host) gets through.
"""

from __future__ import annotations

import argparse
import asyncio
import ipaddress
import logging
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from aiohttp import web
from textual_serve.server import Server

from fastdraft_app.cli import parse
from fastdraft_app.logs import log_to
from fastdraft_core import places
from fastdraft_core.jobs.processes import python_environment

PORT = 8000
_TEMPLATES = Path(__file__).parent

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class PageServer(Server):
    """textual-serve for this app: its own page without foreign fonts, visitors checked, ended in good order."""

    def __init__(self, command: str, host: str, port: int) -> None:
        super().__init__(command, host, port, title="fastdraft", templates_path=_TEMPLATES)
        self._pages: set[asyncio.Task[None]] = set()

    def initialize_logging(self) -> None:
        """Into a file; the terminal gets sentences only."""
        log_to(places.log_file("serve"))
        logging.getLogger("textual-serve").parent = logging.getLogger("fastdraft_app")

    async def _make_app(self) -> web.Application:
        app = await super()._make_app()
        app.middlewares.append(only_own_pages)
        return app

    def serve(self, debug: bool = False) -> None:
        """Serve until ctrl+c, a polite kill, or the terminal is closed."""
        self.debug = debug
        self.initialize_logging()
        web.run_app(self._make_app(), host=self.host, port=self.port, print=self._announce)

    def _announce(self, *_: object) -> None:
        """Say where the page is, now that it can be opened."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        sys.stdout.write(f"fastdraft-app is at http://{host}:{self.port} (ctrl+c ends it)\n")
        sys.stdout.flush()

    async def on_startup(self, app: web.Application) -> None:
        """Leave in good order also when the terminal is closed."""
        del app
        if hasattr(signal, "SIGHUP"):
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self.request_exit)

    async def on_shutdown(self, app: web.Application) -> None:
        """End every page's app, instead of waiting a minute for the pages to close."""
        del app
        for page in self._pages:
            page.cancel()
        await asyncio.gather(*self._pages, return_exceptions=True)

    async def handle_websocket(self, request: web.Request) -> web.WebSocketResponse:
        """A page was opened."""
        page = asyncio.current_task()
        assert page is not None
        self._pages.add(page)
        try:
            return await super().handle_websocket(request)
        finally:
            self._pages.discard(page)


@web.middleware
async def only_own_pages(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer requests for this machine by a loopback name, from a page of this server or from no page."""
    origin = request.headers.get("Origin")
    own = f"http://{request.host}"
    if not is_loopback(urlsplit(own).hostname or "") or origin not in (None, own):
        raise web.HTTPForbidden(text="This page is for the machine it runs on.")
    return await handler(request)


def is_loopback(host: str) -> bool:
    """Whether ``host`` is a name or an address of this machine that no other can reach."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def main(arguments: Sequence[str]) -> int:
    """Serve until ctrl+c; ``arguments`` are those after ``serve``."""
    parser = _parser()
    given, others = parser.parse_known_args(arguments)
    if not is_loopback(given.host):
        parser.error(
            f"the app is served on this machine only, not on {given.host}: the page has no password, and whoever opens "
            f"it runs programs and reads files as you. From elsewhere use a tunnel: ssh -L {given.port}:localhost:{given.port} "
            f"THIS-MACHINE, then open http://localhost:{given.port}"
        )
    # A mistake in the app's own flags is told here and not in every page.
    parse(others)
    # A page imports this very package, and no ``random.py`` of the folder that one is in.
    os.environ.update(python_environment())
    command = [sys.executable, "-P", "-m", "fastdraft_app.web", *others]
    line = subprocess.list2cmdline(command) if sys.platform == "win32" else f"exec {shlex.join(command)}"
    try:
        PageServer(line, given.host, given.port).serve()
    except OSError as error:
        parser.exit(
            1, f"{parser.prog}: cannot listen on {given.host} port {given.port} ({error.strerror}); try --port\n"
        )
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fastdraft-app serve",
        description="Show the app in a browser on this machine. Every page has an app and an engine of its own: keep "
        "one open while you measure.",
        epilog="All other flags are those of fastdraft-app and hold for every page.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--host", default="localhost", help="a loopback address")
    parser.add_argument("--port", type=_port, default=PORT, help="where the page is")
    return parser


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 1 << 16:
        raise argparse.ArgumentTypeError(f"{text!r} is no port; use 1 to 65535")
    return int(text)
