"""A server of the app on the fake engine, and a browser that looks at it, for tests."""

from __future__ import annotations

import asyncio
import base64
import shutil
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import psutil
from aiohttp import ClientSession, ClientWebSocketResponse

ROOT = Path(__file__).parents[1]
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), "")


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextmanager
def served() -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server of the app on the fake engine, and its address; whatever is left of it ends with the test."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.app.serve_with_fake_engine", str(port)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT, start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        assert f"http://127.0.0.1:{port}" in process.stdout.readline()
        yield process, f"127.0.0.1:{port}"
    finally:
        for child in below(process) if process.poll() is None else []:
            child.kill()
        process.kill()
        process.wait()
        process.stdout.close()


def below(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """Apps and engines of all pages."""
    return psutil.Process(process.pid).children(recursive=True)


def all_gone(processes: list[psutil.Process], seconds: float = 60.0) -> bool:
    """Whether all of them end in time."""
    _, alive = psutil.wait_procs(processes, timeout=seconds)
    return all(process.status() == psutil.STATUS_ZOMBIE for process in alive)


class Browser:
    """A page in headless Chromium, driven by its DevTools protocol."""

    def __init__(self, socket: ClientWebSocketResponse) -> None:
        self._socket = socket
        self._number = 0
        self.received = b""
        """What the page got over its web socket."""
        self.requested: list[str] = []
        """Every address that it asked for."""

    async def call(self, method: str, **parameters: object) -> dict[str, Any]:
        """Call a DevTools method and take what happened meanwhile."""
        self._number += 1
        await self._socket.send_json({"id": self._number, "method": method, "params": parameters})
        while True:
            message = await self._socket.receive_json(timeout=30)
            if message.get("id") == self._number:
                return dict(message.get("result", {}))
            self._note(message.get("method"), message.get("params", {}))

    def _note(self, method: str | None, parameters: dict[str, Any]) -> None:
        if method == "Network.webSocketFrameReceived" and parameters["response"]["opcode"] == 2:
            self.received += base64.b64decode(parameters["response"]["payloadData"])
        elif method == "Network.requestWillBeSent":
            self.requested.append(parameters["request"]["url"])

    async def evaluate(self, script: str) -> Any:
        """The value of a script in the page."""
        answer = await self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        return answer["result"].get("value")

    async def press(self, key: str) -> None:
        """Press and release a key."""
        for kind in ("keyDown", "keyUp"):
            await self.call("Input.dispatchKeyEvent", type=kind, key=key, text=key if kind == "keyDown" else "")

    async def look(self) -> tuple[float, int]:
        """Mean brightness (0 to 255) of what is on the page, and how many colours it has."""
        shot = await self.call("Page.captureScreenshot", format="png")
        brightness, colours = await self.evaluate(_LOOK % shot["data"])
        return float(brightness), int(colours)


_LOOK = """(async () => {
  const image = new Image();
  image.src = "data:image/png;base64,%s";
  await image.decode();
  const canvas = new OffscreenCanvas(image.width, image.height), context = canvas.getContext("2d");
  context.drawImage(image, 0, 0);
  const data = context.getImageData(0, 0, image.width, image.height).data, colours = new Set();
  let sum = 0;
  for (let i = 0; i < data.length; i += 4) {
    sum += (data[i] + data[i + 1] + data[i + 2]) / 3;
    colours.add((data[i] << 16) | (data[i + 1] << 8) | data[i + 2]);
  }
  return [sum / (data.length / 4), colours.size];
})()"""


@asynccontextmanager
async def browser(url: str, profile: Path) -> AsyncIterator[Browser]:
    """Headless Chromium with ``url`` open; the process ends with the block."""
    process = await asyncio.create_subprocess_exec(
        CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
        "--remote-debugging-port=0", f"--user-data-dir={profile}", "--window-size=1280,800", "about:blank",
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        port = await _devtools_port(profile / "DevToolsActivePort")
        async with ClientSession() as session:
            async with session.get(f"http://127.0.0.1:{port}/json/list") as response:
                target = next(entry for entry in await response.json() if entry["type"] == "page")
            async with session.ws_connect(target["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                page = Browser(socket)
                for domain in ("Network", "Page", "Runtime"):
                    await page.call(f"{domain}.enable")
                await page.call("Page.navigate", url=url)
                yield page
    finally:
        processes = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        for each in processes:
            each.kill()
        await process.wait()


async def _devtools_port(file: Path) -> int:
    async with asyncio.timeout(60):
        while not file.exists() or not file.read_text().strip():
            await asyncio.sleep(0.05)
    return int(file.read_text().split()[0])
