"""Bringing models to the shelf: from the hub, and by naming a folder; and what is documented of those not here."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Input, OptionList

from fastdraft_app.app import FastdraftApp
from fastdraft_app.dialogs.confirm import ConfirmScreen
from fastdraft_app.dialogs.picker import PickerScreen
from fastdraft_app.models.screen import ModelsScreen
from fastdraft_app.widgets.line import TextLine
from fastdraft_core import places
from tests.app.conftest import MakeApp
from tests.app.helpers import RECORDING, wait_for
from tests.app.models.test_models_screen import TOKENS, _shelf, choose, open_models, words  # noqa: F401  the fixture
from tests.hub import Hub, running_hub
from tests.models.test_local_models import write

PATIENCE = 90.0


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub with one model of two large halves."""
    with running_hub() as found:
        config = json.dumps({"architectures": ["LlamaForCausalLM"], "vocab_size": 300}).encode()
        found.models["owner/model"] = {"config.json": config, "model.safetensors": os.urandom(24 << 20)}
        monkeypatch.setenv("HF_ENDPOINT", found.url)
        monkeypatch.setenv("HF_HUB_OFFLINE", "0")
        monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
        yield found


@pytest.fixture
def app(make_app: MakeApp) -> FastdraftApp:
    """An app whose live screen shows a recording."""
    return make_app("--replay", str(RECORDING))


def title(screen: ModelsScreen) -> str:
    """The line at the top."""
    return screen.query_one("#title", TextLine).text


def listed(screen: ModelsScreen) -> str:
    """All rows."""
    return "\n".join(str(option.prompt) for option in screen.query_one("#models", OptionList).options)


def picker_rows(pilot: Pilot[None]) -> str:
    """All that the picker lists; nothing as long as it is not there, or has not answered."""
    if not isinstance(pilot.app.screen, PickerScreen):
        return ""
    lists = pilot.app.screen.query("#rows").results(OptionList)
    return "\n".join(str(option.prompt) for found in lists for option in found.options)


async def type_into_picker(pilot: Pilot[None], text: str, answer: str) -> None:
    """Type ``text`` once the picker has shown what it lists at first, and wait until it lists ``answer``."""
    await wait_for(pilot, lambda: picker_rows(pilot))
    pilot.app.screen.query_one("#typed", Input).value = text
    await wait_for(pilot, lambda: answer in picker_rows(pilot))


async def test_what_is_documented_of_a_target_is_called_that(app: FastdraftApp) -> None:
    """Figures that nobody measured here are labelled; what nobody documents is no figure."""
    async with app.run_test(size=(160, 48)) as pilot:
        screen = await open_models(pilot)
        choose(screen, "microsoft/Phi-3-mini")
        await wait_for(pilot, lambda: "3.8B parameters (documented)" in words(screen))
        assert "32064 logits (documented)" in words(screen)
        assert "OpenVINO/Phi-3-mini-FastDraft-50M-int8-ov" in words(screen)
        choose(screen, "microsoft/Phi-4")
        await wait_for(pilot, lambda: "not documented" in words(screen))


async def test_a_download_is_seen_stopped_and_taken_up_again(app: FastdraftApp, hub: Hub) -> None:
    """Progress in the title, b stops it, the next one goes on, and the model is on the shelf."""
    hub.go_on.clear()
    async with app.run_test(size=(120, 36)) as pilot:
        screen = await open_models(pilot)
        await pilot.press("b")
        await type_into_picker(pilot, "owner/model", "owner/model")
        await pilot.press("enter")
        await wait_for(pilot, lambda: "of 25 MB" in title(screen) and "10 MB" in title(screen), PATIENCE)
        await pilot.press("b")
        await wait_for(pilot, lambda: isinstance(app.screen, ConfirmScreen))
        await pilot.press("y")
        await wait_for(pilot, lambda: any("what has come is kept" in told.message for told in app._notifications))
        hub.go_on.set()
        screen.downloads.begin("owner/model")
        await wait_for(pilot, lambda: any(told.title == "Downloaded" for told in app._notifications), PATIENCE)
        await wait_for(pilot, lambda: "owner/model" in listed(screen))
        assert any(asked.startswith("bytes=1") for asked in hub.ranges)


async def test_a_download_that_cannot_be_says_why(app: FastdraftApp, hub: Hub) -> None:
    """The sentence of the command line, without a traceback; the highlighted published draft is what b offers."""
    async with app.run_test(size=(120, 36)) as pilot:
        screen = await open_models(pilot)
        choose(screen, "FastDraft-120M")
        await pilot.press("b")
        await wait_for(pilot, lambda: "FastDraft-120M" in picker_rows(pilot))
        await pilot.press("enter")
        await wait_for(pilot, lambda: any(told.title == "Not downloaded" for told in app._notifications), PATIENCE)
        (told,) = [told for told in app._notifications if told.title == "Not downloaded"]
        assert "'OpenVINO/Phi-4-mini-FastDraft-120M-int8-ov'" in told.message
        assert "hf auth login" in told.message


async def test_a_folder_is_added_remembered_and_taken_off(app: FastdraftApp, tmp_path: Path) -> None:
    """Models brought by hand: their folder is named once."""
    write(tmp_path / "brought" / "by-hand", TOKENS, 900)
    async with app.run_test(size=(120, 36)) as pilot:
        screen = await open_models(pilot)
        for there in (True, False):
            await pilot.press("a")
            await type_into_picker(pilot, str(tmp_path / "brought"), "1 model here")
            await pilot.press("enter")
            await wait_for(pilot, lambda wanted=there: ("by-hand" in listed(screen)) is wanted)


async def test_of_a_job_the_newest_model_is_listed(app: FastdraftApp) -> None:
    """A job has six checkpoints and one draft; v shows them all."""
    for number, name in enumerate(("pt/last", "cp/last", "ft/best", "ft/last")):
        folder = write(places.jobs() / "mine" / "checkpoints" / name, TOKENS, 500)
        os.utime(folder / "model.safetensors", (1000 + number // 3, 1000 + number // 3))
    async with app.run_test(size=(160, 48)) as pilot:
        screen = await open_models(pilot)
        assert listed(screen).count("checkpoints/") == 1
        assert "ft/last" in listed(screen)
        await pilot.press("v")
        await wait_for(pilot, lambda: listed(screen).count("checkpoints/") == 4)
