"""The results screen: what is kept is listed, opened with the same picture, compared and exported."""

from __future__ import annotations

import csv
import json
import threading
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import OptionList, Static

from fastdraft_app.app import FastdraftApp
from fastdraft_app.dialogs.formats import ExportScreen
from fastdraft_app.dialogs.help import HelpScreen
from fastdraft_app.dialogs.picker import PickerScreen
from fastdraft_app.results.compare_screen import CompareScreen
from fastdraft_app.results.result_screen import ResultScreen
from fastdraft_app.results.screen import ResultsScreen
from fastdraft_app.widgets.figure_rows import FigureRows
from fastdraft_app.widgets.key_bar import KeyBar
from fastdraft_core import places
from fastdraft_core.results import store
from tests.app.conftest import MakeApp
from tests.app.helpers import RECORDING, wait_for
from tests.app.sweeps import grid, keep

OLD, NEW = "20260102-030405-demo", "20260103-030405-demo"


@pytest.fixture
def app(make_app: MakeApp) -> FastdraftApp:
    """Two kept sweeps; the newer one is a tenth faster, ran with one thread, and did not come to its end."""
    keep(grid(OLD))
    keep(grid(NEW, faster=1.1, left_out=20, threads=1))
    return make_app("--replay", str(RECORDING))


async def listed(pilot: Pilot[None], count: int = 2) -> ResultsScreen:
    """The list, read from disk."""
    await pilot.press("5")
    await wait_for(pilot, lambda: isinstance(pilot.app.screen, ResultsScreen))
    screen = pilot.app.screen
    assert isinstance(screen, ResultsScreen)
    await wait_for(pilot, lambda: len(screen.entries) == count)
    await pilot.pause()
    return screen


def rows(screen: ResultsScreen) -> list[str]:
    """What the list says."""
    options = screen.query_one("#kept", OptionList)
    return [str(options.get_option_at_index(place).prompt) for place in range(options.option_count)]


async def compared(pilot: Pilot[None]) -> None:
    """The highlighted result beside the first one that there is to compare with."""
    await pilot.press("c")
    await wait_for(pilot, lambda: isinstance(pilot.app.screen, PickerScreen) and pilot.app.screen._rows)
    await pilot.press("enter")
    await wait_for(pilot, lambda: isinstance(pilot.app.screen, CompareScreen))


async def test_the_newest_comes_first_with_its_verdict(app: FastdraftApp) -> None:
    """Date, pair, how far it got, and the first sentence; a damaged one is listed with the reason."""
    damaged = store.folder("20260101-000000-broken")
    damaged.mkdir(parents=True)
    (damaged / "events.jsonl").write_text("nonsense\n")
    async with app.run_test(size=(120, 36)) as pilot:
        screen = await listed(pilot, 3)
        newest, other, broken = rows(screen)
        assert newest.startswith("2026-01-03 03:04  demo + XS S M")
        assert "28/48 points, unfinished" in newest
        assert "Use draft demo:" in newest
        assert "48/48 points, complete" in other
        assert "cannot be read" in broken
        await pilot.press("end", "enter")
        await pilot.pause()
        assert isinstance(app.screen, ResultsScreen)
        assert any("damaged" in note.message for note in app._notifications)


async def test_without_results_it_says_what_to_press(make_app: MakeApp) -> None:
    """An empty list is a way to go on."""
    app = make_app("--replay", str(RECORDING))
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await listed(pilot, 0)
        await wait_for(pilot, lambda: rows(screen))
        assert "Press 2 and then space" in rows(screen)[0]
        await pilot.press("c", "e", "u")
        await pilot.pause()
        assert app.screen is screen


async def test_an_opened_result_has_its_verdict_table_and_charts(app: FastdraftApp) -> None:
    """The same view as while it was measured; the cursor stands at the recommendation; esc goes back."""
    async with app.run_test(size=(160, 48)) as pilot:
        screen = await listed(pilot)
        await pilot.press("down", "enter")
        await wait_for(pilot, lambda: isinstance(app.screen, ResultScreen))
        await pilot.pause()
        assert "Use draft demo:S with gamma 3" in str(app.screen.query_one("#verdict", Static).render())
        heat = app.screen.query_one("#heat", FigureRows).text
        assert "[1.83]" in heat
        assert "[1.46]" in heat, "the other task stands beside it"
        for figure in ("bandwidth in GB/s", "acceptance", "block efficiency", "speed-up"):
            await pilot.press("m")
            await pilot.pause()
            assert app.screen.query_one("#key", Static).render().plain.startswith(figure)  # type: ignore[union-attr]
        await pilot.press("escape")
        await wait_for(pilot, lambda: app.screen is screen)


async def test_compare_marks_what_differs_beyond_noise(app: FastdraftApp) -> None:
    """The older one as A: B is faster at points with narrow intervals, others are noise; the other thread count is told."""
    async with app.run_test(size=(80, 24)) as pilot:
        await listed(pilot)
        await pilot.press("down")
        await compared(pilot)
        await wait_for(pilot, lambda: "XS" in app.screen.query_one("#rows", FigureRows).text)
        answer = app.screen.query_one("#both", Static).render().plain  # type: ignore[union-attr]
        assert answer.splitlines()[0].endswith(OLD)
        assert answer.splitlines()[1].endswith(NEW)
        assert "28 of 28 common points differ beyond noise: ▲ 28 faster in B, ▼ 0 slower" in answer
        table = app.screen.query_one("#rows", FigureRows).text.splitlines()
        assert len(table) == 29
        assert "+10.0 %  ▲ faster" in table[1]
        around = str(app.screen.query_one("#conditions", Static).render())
        assert "threads: 2 / 1" in around
        assert "20 not measured in B" in around
        await pilot.press("escape")
        await wait_for(pilot, lambda: isinstance(app.screen, ResultsScreen))


async def test_the_results_to_compare_with_are_read_beside_the_screen(
    app: FastdraftApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Years of sweeps on a slow disk: keys and pictures go on while they are read."""
    in_the_way: list[bool] = []
    read = store.read

    def watched(name: str) -> store.Result:
        in_the_way.append(threading.current_thread() is threading.main_thread())
        return read(name)

    monkeypatch.setattr(store, "read", watched)
    async with app.run_test(size=(80, 24)) as pilot:
        await listed(pilot)
        await compared(pilot)
    assert len(in_the_way) >= 4
    assert not any(in_the_way)


async def test_differences_inside_the_noise_are_called_noise(make_app: MakeApp) -> None:
    """One per cent between intervals of several is no finding."""
    keep(grid(OLD))
    keep(grid(NEW, faster=1.01))
    app = make_app("--replay", str(RECORDING))
    async with app.run_test(size=(80, 24)) as pilot:
        await listed(pilot)
        await compared(pilot)
        await wait_for(pilot, lambda: "≈ noise" in app.screen.query_one("#rows", FigureRows).text)
        answer = app.screen.query_one("#both", Static).render().plain  # type: ignore[union-attr]
        assert "None of the 48 common points differs beyond the noise" in answer


async def test_every_form_is_exported_and_nothing_is_replaced(app: FastdraftApp) -> None:
    """The files of ``fastdraft results export``: one row a point, the whole result, a page, folders of charts."""
    folder = places.exports()
    async with app.run_test(size=(80, 24)) as pilot:
        await listed(pilot)
        for downs, made in enumerate(
            ("{}.md", "{}.csv", "{}.json", "{}.charts/size.svg", "{}-2.charts/size.png", "{}-2.md")
        ):
            await pilot.press("e")
            await wait_for(pilot, lambda: isinstance(app.screen, ExportScreen))
            await pilot.press(*["down"] * (downs % 5), "enter")
            # Charts are drawn beside the screen.
            await wait_for(pilot, (folder / made.format(NEW)).is_file)
    assert (folder / f"{NEW}.md").read_text().startswith(f"# {NEW}")
    assert (folder / f"{NEW}-2.md").is_file()
    assert len(list(csv.reader((folder / f"{NEW}.csv").open()))) == 49
    assert json.loads((folder / f"{NEW}.json").read_text())["schema"] == store.SCHEMA
    for drawn, kind in ((f"{NEW}.charts", "svg"), (f"{NEW}-2.charts", "png")):
        names = {f"{name}.{kind}" for name in ("speedup", "acceptance", "tau", "bandwidth", "size")}
        assert {path.name for path in Path(folder / drawn).iterdir()} == names


async def test_an_unfinished_sweep_goes_on_from_the_list(app: FastdraftApp) -> None:
    """u opens the sweep screen and starts ``fastdraft sweep --resume``; a complete one is left alone."""
    begun: list[str] = []

    async def start(arguments: list[str], wake: object) -> None:
        begun.extend(arguments)

    app.sweeper.start = start  # type: ignore[assignment, method-assign]
    async with app.run_test(size=(80, 24)) as pilot:
        await listed(pilot)
        await pilot.press("down", "u")
        await pilot.pause()
        assert not begun
        await pilot.press("up", "u")
        await wait_for(pilot, lambda: begun)
        assert app.current_mode == "sweep"
        assert begun[:2] == ["sweep", f"--resume={NEW}"]


@pytest.mark.parametrize("key", ["2", "5"])
async def test_keys_stand_in_bar_help_and_palette(app: FastdraftApp, key: str) -> None:
    """All three are made of the bindings; each has an id of its own and words."""
    async with app.run_test(size=(160, 48)) as pilot:
        await pilot.press(key)
        await pilot.pause()
        bindings = [active.binding for active in app.screen.active_bindings.values() if active.binding.id]
        assert len({binding.id for binding in bindings}) >= 10
        assert all(binding.tooltip for binding in bindings)
        commands = {command.title for command in app.get_system_commands(app.screen)}
        assert {binding.tooltip for binding in bindings} <= commands
        bar = app.screen.query_one(KeyBar).text
        assert "2 sweep" in bar
        assert "5 results" in bar
        await pilot.press("f1")
        await wait_for(pilot, lambda: isinstance(app.screen, HelpScreen))
        await pilot.pause()
        words = {str(static.render()) for static in app.screen.query(Static)}
        assert {binding.tooltip for binding in bindings} <= words
