"""``fastdraft-app serve`` in a real browser: headless Chromium, where it is installed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.web import CHROMIUM, Browser, browser, served

pytestmark = pytest.mark.skipif(not CHROMIUM, reason="Chromium is not installed (Debian: apt install chromium)")


async def until(what: Callable[[], Awaitable[bool]], seconds: float = 60.0) -> None:
    """Wait until ``what`` is true."""
    async with asyncio.timeout(seconds):
        while not await what():
            await asyncio.sleep(0.2)


async def shows(page: Browser, text: bytes) -> bool:
    """Whether ``text`` came to the page."""
    await page.evaluate("1")
    return text in page.received


async def test_the_demo_in_a_browser(home: Path, tmp_path: Path) -> None:
    """The page shows the live comparison, t turns it light, q ends it, and nothing is loaded from elsewhere."""
    del home
    with served() as (_, address):
        async with browser(f"http://{address}/", tmp_path / "profile") as page:
            await until(lambda: shows(page, b"replayed together"))

            async def drawn(light: bool) -> bool:
                brightness, colours = await page.look()
                # Text in several colours on a ground that is mostly one.
                return colours > 50 and (brightness > 180 if light else brightness < 75)

            await until(lambda: drawn(light=False))
            assert await page.evaluate("document.title") == "fastdraft"
            await page.press("t")
            await until(lambda: drawn(light=True))
            await page.press("q")
            await until(lambda: page.evaluate("document.body.classList.contains('-closed')"))
            assert await page.evaluate("getComputedStyle(document.querySelector('.over')).display") == "flex"
            assert [url for url in page.requested if not url.startswith((f"http://{address}/", "data:"))] == []
            assert any(url.endswith(".ttf") for url in page.requested)
