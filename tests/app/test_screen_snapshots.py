"""Pictures of every screen. Run with ``--snapshot-update`` after a wanted change, and look at the report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Input, TextArea

from fastdraft_app.dialogs.picker import PickerScreen
from fastdraft_app.live.session import Phase
from fastdraft_core import places
from fastdraft_core.history import remember_prompt

from .conftest import MakeApp
from .helpers import RECORDING, live, wait_for

SIZES = [(80, 24), (120, 36), (160, 48)]
LOOKS = ["dark", "light", "no-colour"]


def named(size: tuple[int, int]) -> str:
    """A size in the name of a picture."""
    return f"{size[0]}x{size[1]}"


async def shown(pilot: Pilot[None], *keys: str) -> None:
    """The end of the recording, then ``keys``; cursors stand still."""
    await wait_for(pilot, lambda: live(pilot).session.phase is Phase.DONE)
    await pilot.press(*keys)
    await pilot.pause()
    if isinstance(pilot.app.screen, PickerScreen):
        await wait_for(pilot, lambda: pilot.app.screen._rows)  # type: ignore[attr-defined]
    for editor in pilot.app.screen.query("Input, TextArea").results(Input | TextArea):
        editor.cursor_blink = False
    await pilot.pause()


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("size", SIZES, ids=named)
def test_live(
    snap_compare: Any, make_app: MakeApp, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], look: str
) -> None:
    """The end of a comparison, at every size and in every look."""
    if look == "no-colour":
        monkeypatch.setenv("NO_COLOR", "1")
    app = make_app("--theme", "light" if look == "light" else "dark", "--replay", str(RECORDING))
    assert snap_compare(app, terminal_size=size, run_before=shown)


def test_small_and_ascii(snap_compare: Any, make_app: MakeApp) -> None:
    """The smallest size that is promised, on a terminal of 16 colours without Unicode."""
    app = make_app("--theme", "16", "--ascii", "--replay", str(RECORDING))
    assert snap_compare(app, terminal_size=(60, 16), run_before=shown)


@pytest.mark.parametrize(
    ("keys", "size"),
    [
        pytest.param(["f2"], (80, 24), id="settings"),
        pytest.param(["f2"], (120, 44), id="settings-large"),
        pytest.param(["question_mark"], (80, 24), id="help"),
        pytest.param(["p"], (80, 24), id="prompt"),
        pytest.param(["p"], (60, 16), id="prompt-small"),
        pytest.param(["d"], (80, 24), id="draft"),
        pytest.param(["e"], (80, 24), id="export"),
    ],
)
def test_dialogs(snap_compare: Any, make_app: MakeApp, assets: Path, keys: list[str], size: tuple[int, int]) -> None:
    """What lies over the live screen."""
    remember_prompt(places.history(), "def earlier(prompt):\n    return prompt")

    async def before(pilot: Pilot[None]) -> None:
        await shown(pilot, *keys)

    assert snap_compare(make_app("--replay", str(RECORDING)), terminal_size=size, run_before=before)


@pytest.fixture
def assets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A pair of known sizes and prompts of its own, so that another training changes no picture."""
    folder = tmp_path / "assets"
    for name, size in (("target", 45_600_000), ("drafts/XS", 1_450_000), ("drafts/S", 3_700_000)):
        model = folder / "demo" / name
        model.mkdir(parents=True)
        config = {"architectures": ["LlamaForCausalLM"], "vocab_size": 4096}
        (model / "config.json").write_text(json.dumps(config))
        with (model / "model.safetensors").open("wb") as file:
            file.truncate(size)
    (folder / "demo" / "prompts.toml").write_text(
        '[[prompt]]\ntask = "code"\nname = "stack"\ntext = "class Stack:"\n'
        '[[prompt]]\ntask = "text"\nname = "fairy tale"\ntext = "Once upon a time"\n'
    )
    monkeypatch.setattr(places, "assets", lambda: folder)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "no-hub"))
    return folder
