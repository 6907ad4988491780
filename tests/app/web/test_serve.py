"""``fastdraft-app serve``: only this machine gets in, and nothing stays behind."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest
from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType, WSServerHandshakeError
from aiohttp.test_utils import TestClient, TestServer

from fastdraft_app.web import serve
from tests.web import all_gone, below, served

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the server is ended by signals")


@pytest.fixture
def server(home: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server of the app on the fake engine, and its address."""
    del home
    with served() as found:
        yield found


@asynccontextmanager
async def page(address: str) -> AsyncIterator[ClientWebSocketResponse]:
    """What a browser page holds open."""
    url = f"ws://{address}/ws?width=100&height=30"
    async with (
        ClientSession() as session,
        session.ws_connect(url, origin=f"http://{address}", max_msg_size=0) as opened,
    ):
        yield opened


async def read_until(opened: ClientWebSocketResponse, text: bytes, seconds: float = 120.0) -> bytes:
    """What the page got, up to ``text``."""
    got = b""
    async with asyncio.timeout(seconds):
        while text not in got:
            message = await opened.receive()
            assert message.type in (WSMsgType.BINARY, WSMsgType.TEXT), got[-2000:]
            got += message.data if isinstance(message.data, bytes) else b""
    return got


async def listen(opened: ClientWebSocketResponse) -> None:
    """Go on reading, as a browser does."""
    async for _ in opened:
        pass


async def press(opened: ClientWebSocketResponse, key: str) -> None:
    """Type ``key`` into the page."""
    await opened.send_str(json.dumps(["stdin", key]))


def test_a_file_of_the_users_folder_is_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who serves the app beside a ``random.py`` of his own has pages all the same."""
    (tmp_path / "random.py").write_text("raise SystemExit('this is no part of fastdraft')\n")
    commands: list[str] = []

    class Unstarted(serve.PageServer):
        def serve(self, debug: bool = False) -> None:
            del debug
            commands.append(self.command)

    monkeypatch.setattr(serve, "PageServer", Unstarted)
    monkeypatch.setenv("PYTHONPATH", "")
    serve.main([])
    done = subprocess.run(f"{commands[0]} --help", shell=True, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "example.org", "127.0.0.1.example.org", ""])
def test_only_loopback_is_served(host: str, capsys: pytest.CaptureFixture[str]) -> None:
    """An address that others can reach is refused with the reason and another way."""
    with pytest.raises(SystemExit) as ended:
        serve.main(["--host", host])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert "no password" in said
    assert "ssh -L 8000:localhost:8000" in said


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.9.9.9", "::1"])
def test_every_loopback_address_will_do(host: str) -> None:
    """All names of this machine for itself."""
    assert serve.is_loopback(host)


@pytest.mark.parametrize("arguments", [["--port", "0"], ["--port", "x"], ["--port", "65536"], ["--gamma", "99"]])
def test_mistakes_are_told_before_serving(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Also those in the flags of the app, which every page would trip over."""
    with pytest.raises(SystemExit) as ended:
        serve.main(arguments)
    assert ended.value.code == 2
    assert "Traceback" not in capsys.readouterr().err


def test_a_taken_port_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    """The port is named, and what to do."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SystemExit) as ended:
            serve.main(["--host", "127.0.0.1", "--port", str(port)])
    assert ended.value.code == 1
    assert f"cannot listen on 127.0.0.1 port {port}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Origin": "http://{own}"}, 200),
        ({"Host": "evil.example"}, 403),
        ({"Host": "localhost.evil.example:80"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://localhost:1"}, 403),
    ],
)
async def test_other_sites_do_not_get_in(headers: dict[str, str], status: int) -> None:
    """A site in the same browser cannot drive the app: neither across origins nor by a name that points here."""
    async with TestClient(TestServer(await serve.PageServer("true", "127.0.0.1", 1)._make_app())) as client:
        own = f"{client.host}:{client.port}"
        given = {name: value.format(own=own) for name, value in headers.items()}
        assert (await client.get("/", headers=given)).status == status
        if status != 200:
            with pytest.raises(WSServerHandshakeError):
                await client.ws_connect("/ws", headers=given)


async def test_the_page_loads_nothing_from_elsewhere() -> None:
    """It works without a network, and tells nobody that it was opened."""
    async with TestClient(TestServer(await serve.PageServer("true", "127.0.0.1", 1)._make_app())) as client:
        text = await (await client.get("/")).text()
        sources = re.findall(r"""(?:src|href)=["']([^"']*)|url\(["']?([^"')]*)""", text)
        assert len(sources) >= 3
        for source in (a or b for a, b in sources):
            assert source.startswith(("/static/", "data:")) or source == ""
            if source.startswith("/"):
                assert (await client.get(source)).status == 200, source


async def test_a_page_shows_the_demo_and_ends_with_it(server: tuple[subprocess.Popen[str], str]) -> None:
    """The comparison runs in the page and keys work; app and engine end with q, or when the page is closed."""
    process, address = server
    async with page(address) as opened:
        await read_until(opened, b"replayed together")
        await press(opened, "?")
        await read_until(opened, b"esc closes")
        running = below(process)
        assert len(running) >= 2
        # The first one closes the help.
        await press(opened, "qq")
        assert await asyncio.to_thread(all_gone, running)
    async with page(address) as opened:
        await read_until(opened, b"tok/s")
        running = below(process)
        assert len(running) >= 2
    assert await asyncio.to_thread(all_gone, running)
    assert process.poll() is None


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP, signal.SIGKILL])
async def test_ending_the_server_leaves_nothing(
    server: tuple[subprocess.Popen[str], str], number: signal.Signals
) -> None:
    """Ctrl+c, a closed terminal and kill -9, each with a page open: no process stays."""
    process, address = server
    async with page(address) as opened:
        await read_until(opened, b"tok/s")
        running = below(process)
        assert len(running) >= 2
        os.kill(process.pid, number)
        reading = asyncio.create_task(listen(opened))
        assert await asyncio.to_thread(all_gone, [*running, psutil.Process(process.pid)])
        reading.cancel()
    said, _ = process.communicate()
    assert "Traceback" not in said
