"""The models screen: what is here, what fits, how to get the rest; used, converted and deleted from there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import OptionList, Static

from fastdraft_app.dialogs.confirm import ConfirmScreen
from fastdraft_app.dialogs.formats import ExportScreen
from fastdraft_app.live.screen import LiveScreen
from fastdraft_app.models.screen import ModelsScreen
from fastdraft_core import places
from fastdraft_core.jobs.partners import KnownAcceptance, pair
from fastdraft_core.models.local_models import shelf
from tests.app.conftest import MakeApp
from tests.app.helpers import RECORDING, wait_for
from tests.models.test_local_models import write, write_ir

TOKENS = {"a": 0, "b": 1}


@pytest.fixture(autouse=True)
def _shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bundled pair, two folders beside each other, an export; paths as in any other place."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "no-hub"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(places, "assets", lambda: Path("assets"))
    monkeypatch.setattr(places, "exports", lambda: Path("exports"))
    write(tmp_path / "assets" / "demo" / "target", TOKENS, 22_000)
    write(tmp_path / "assets" / "demo" / "drafts" / "S", TOKENS, 1_800)
    write(tmp_path / "exports" / "other-int8-ov", {"b": 0, "a": 1}, 700)
    (tmp_path / "assets" / "demo" / "prompts.toml").write_text('[[prompt]]\ntask = "code"\nname = "x"\ntext = "def"\n')


async def open_models(pilot: Pilot[None]) -> ModelsScreen:
    """Press 6 and wait for the list."""
    await pilot.press("6")
    await wait_for(pilot, lambda: isinstance(pilot.app.screen, ModelsScreen) and pilot.app.screen.chosen)
    screen = pilot.app.screen
    assert isinstance(screen, ModelsScreen)
    await pilot.pause()
    return screen


def choose(screen: ModelsScreen, name: str) -> None:
    """Highlight the entry with ``name`` in its row."""
    listed = screen.query_one("#models", OptionList)
    listed.highlighted = next(n for n, option in enumerate(listed.options) if option.id and name in str(option.prompt))


def words(screen: ModelsScreen) -> str:
    """What the right side says."""
    return str(screen.query_one("#words", Static).render())


async def test_facts_and_fits(make_app: MakeApp) -> None:
    """Each model has its figures, and what fits is what has the same tokens."""
    app = make_app("--replay", str(RECORDING))
    async with app.run_test(size=(160, 48)) as pilot:
        screen = await open_models(pilot)
        assert "22,000 parameters" in words(screen)
        assert "demo:S" in words(screen)
        assert "other" not in words(screen)
        choose(screen, "other")
        await wait_for(pilot, lambda: "none here" in words(screen))
        choose(screen, "Llama-3.1")
        await wait_for(pilot, lambda: "hf auth login" in words(screen) and "gated" in words(screen))


async def test_enter_opens_a_model_with_its_partner(make_app: MakeApp) -> None:
    """A draft goes live with its target; what is not here is not tried."""
    app = make_app("--replay", str(RECORDING))
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await open_models(pilot)
        choose(screen, "Phi-4")
        await pilot.press("enter")
        await wait_for(pilot, lambda: any("not on this machine" in told.message for told in app._notifications))
        choose(screen, "demo:S")
        await pilot.press("enter")
        await wait_for(pilot, lambda: isinstance(app.screen, LiveScreen))
        assert (app.preferences.current.target, app.preferences.current.draft) == ("demo", "demo:S")


def test_the_partner_is_the_best_that_is_known(tmp_path: Path) -> None:
    """S for the bundled target although XS is smaller; elsewhere acceptance decides, and size where nothing is known."""
    write(tmp_path / "assets" / "demo" / "drafts" / "XS", TOKENS, 500)
    for name, weights in (("big", 20_000), ("good", 900), ("small", 300)):
        write(tmp_path / "mine" / name, TOKENS, weights)
    models = shelf([tmp_path / "mine"])
    named = {Path(model.name).name: model for model in models}
    demo = pair(named["demo"], models, KnownAcceptance({("demo", "demo:XS"): 0.9}))
    assert (demo.target, demo.draft) == ("demo", "demo:S")
    big = named["big"]
    assert pair(big, models, KnownAcceptance()).draft == named["small"].name
    good, small = named["good"].name, named["small"].name
    rated = pair(
        big, models, KnownAcceptance({(big.name, good): 0.6, (big.name, "demo:S"): 0.5}, {(big.name, small): 0.9})
    )
    assert (rated.draft, "0.60 in kept sweeps" in rated.why) == (good, True)
    trained = pair(big, models, KnownAcceptance(jobs={(big.name, good): 0.4}))
    assert (trained.draft, "0.40 after its training" in trained.why) == (good, True)


async def test_enter_on_a_converted_target_does_not_make_it_its_own_draft(make_app: MakeApp, tmp_path: Path) -> None:
    """After c on demo an IR of it lies beside it; enter on demo still means demo and S."""
    write_ir(tmp_path / "exports" / "demo-int8-ov", TOKENS, 2200, 10)
    app = make_app("--replay", str(RECORDING), "--draft", "demo:S")
    async with app.run_test(size=(120, 36)) as pilot:
        screen = await open_models(pilot)
        choose(screen, "demo-int8-ov")
        await wait_for(pilot, lambda: "22,010 parameters" in words(screen) and "bf16" in words(screen))
        choose(screen, "demo ")
        await pilot.press("enter")
        await wait_for(pilot, lambda: isinstance(app.screen, LiveScreen))
        assert (app.preferences.current.target, app.preferences.current.draft) == ("demo", "demo:S")
        assert any("shown with" in told.message for told in app._notifications)


async def test_delete_asks_and_refuses(make_app: MakeApp) -> None:
    """The bundled pair stays; an export goes after a yes."""
    app = make_app("--replay", str(RECORDING))
    async with app.run_test(size=(120, 36)) as pilot:
        screen = await open_models(pilot)
        await pilot.press("D")
        await wait_for(pilot, lambda: any("came with fastdraft" in told.message for told in app._notifications))
        choose(screen, "other")
        await pilot.press("D")
        await wait_for(pilot, lambda: isinstance(app.screen, ConfirmScreen))
        await pilot.press("y")
        await wait_for(pilot, lambda: not (places.exports() / "other-int8-ov").exists())
        await wait_for(pilot, lambda: "other" not in str([o.prompt for o in screen.query_one(OptionList).options]))


async def test_a_conversion_that_fails_says_why(make_app: MakeApp) -> None:
    """The converter's own sentence is shown; here the weights are no real ones."""
    app = make_app("--replay", str(RECORDING))
    async with app.run_test(size=(120, 36)) as pilot:
        screen = await open_models(pilot)
        choose(screen, "other")
        await pilot.press("c")
        await wait_for(pilot, lambda: isinstance(app.screen, ExportScreen))
        await pilot.press("enter")
        await wait_for(pilot, lambda: any(told.title == "Not exported" for told in app._notifications), 90)
        assert not any("Traceback" in told.message for told in app._notifications)


@pytest.mark.parametrize("size", [(80, 24), (160, 48)], ids=["80x24", "160x48"])
@pytest.mark.parametrize("what", ["target", "published", "ascii"])
def test_pictures(snap_compare: Any, make_app: MakeApp, size: tuple[int, int], what: str) -> None:
    """The shelf as it looks."""

    async def before(pilot: Pilot[None]) -> None:
        screen = await open_models(pilot)
        if what == "published":
            choose(screen, "Llama-3.1")
        await pilot.pause(0.2)

    arguments = ("--theme", "16", "--ascii") if what == "ascii" else ("--theme", "dark")
    assert snap_compare(make_app("--replay", str(RECORDING), *arguments), terminal_size=size, run_before=before)
