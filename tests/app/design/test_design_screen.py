"""The design screen: shapes come as they are measured, the best one goes into the wizard, a kept study is shown again."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from fastdraft_app.app import FastdraftApp
from fastdraft_app.client.sweep import SweepClient
from fastdraft_app.design.screen import DesignScreen
from fastdraft_app.messages import DesignAsked
from fastdraft_app.widgets.figure_rows import FigureRows
from fastdraft_app.widgets.line import TextLine
from fastdraft_app.wizard.questions import QUESTIONS, STEPS
from fastdraft_app.wizard.screen import WizardScreen
from fastdraft_core.events import DesignFinished, DesignProgress, Event, encode
from fastdraft_core.results import designs
from fastdraft_core.results.designs import Design
from tests.app.conftest import MakeApp
from tests.app.helpers import wait_for
from tests.app.test_screen_snapshots import named
from tests.design.studies import design

_PLAY = "import pathlib, sys; sys.stdout.write(pathlib.Path(sys.argv[1]).read_text())"


def keep(found: Design) -> None:
    """As ``fastdraft design`` keeps it."""
    write = designs.writer(found.plan.name)
    for event in stream(found):
        write(event)


def stream(found: Design) -> list[Event]:
    """The events of a whole study."""
    total = len(found.plan.shapes)
    told: list[Event] = [found.plan]
    for done, one in enumerate(found.measured.values()):
        told += [DesignProgress(what=f"measuring shape {done}", done=done, total=total), one]
    return [*told, DesignFinished(reason="complete", chosen=found.best(), seconds=42.0)]


async def opened(pilot: Pilot[None]) -> DesignScreen:
    """The study of the bundled target."""
    pilot.app.post_message(DesignAsked("demo"))
    await wait_for(pilot, lambda: isinstance(pilot.app.screen, DesignScreen))
    await pilot.pause()
    screen = pilot.app.screen
    assert isinstance(screen, DesignScreen)
    return screen


async def test_a_study_is_run_and_its_best_shape_goes_into_the_wizard(make_app: MakeApp, tmp_path: Path) -> None:
    """Space starts it, every shape has its row, enter takes the best one to the page of the draft."""
    found = design()
    file = tmp_path / "stream.jsonl"
    file.write_bytes(b"".join(encode(event) for event in stream(found)))
    app = make_app()
    app.designer = SweepClient(tmp_path / "design.log", (sys.executable, "-c", _PLAY, str(file)))
    async with app.run_test(size=(160, 48)) as pilot:
        screen = await opened(pilot)
        assert "space starts the study" in screen.query_one("#progress", TextLine).text
        await pilot.press("space")
        await wait_for(pilot, lambda: "complete" in screen.query_one("#progress", TextLine).text)
        rows = screen.query_one("#rows", FigureRows).text
        assert [line.split("  ")[0] for line in rows.splitlines()[1:5]] == ["1 x 256", "2 x 192", "3 x 160", "4 x 160"]
        assert "cheapest" in screen.query_one("#choice", TextLine).text
        await pilot.press("enter")
        await wait_for(pilot, lambda: isinstance(app.screen, WizardScreen))
        wizard = app.screen
        assert isinstance(wizard, WizardScreen)
        await wait_for(pilot, lambda: STEPS[wizard.step].title == "Draft")
        texts = {
            key: wizard.answers.text(QUESTIONS[f"model.{key}"]) for key in ("hidden_size", "num_layers", "num_heads")
        }
        assert texts == {"hidden_size": "256", "num_layers": "1", "num_heads": "4"}


async def test_a_process_that_fails_says_why_in_its_own_words(make_app: MakeApp, tmp_path: Path) -> None:
    """Its last sentence, and where its log is."""
    app = make_app()
    fails = "import sys; sys.stderr.write('fastdraft: --params 1K is too small.\\n'); sys.exit(1)"
    app.designer = SweepClient(tmp_path / "design.log", (sys.executable, "-c", fails))
    async with app.run_test(size=(120, 30)) as pilot:
        screen = await opened(pilot)
        await pilot.press("space")
        await wait_for(pilot, lambda: "too small" in screen.session.error)
        assert "design.log" in screen.session.error


async def test_before_anything_is_measured_no_shape_can_be_taken(make_app: MakeApp) -> None:
    """Enter says so and stays; escape leads back."""
    app: FastdraftApp = make_app()
    async with app.run_test(size=(120, 30)) as pilot:
        screen = await opened(pilot)
        await pilot.press("enter")
        await pilot.pause()
        assert app.screen is screen
        await pilot.press("escape")
        await wait_for(pilot, lambda: app.screen is not screen)


@pytest.mark.parametrize("size", [(80, 24), (160, 48)], ids=named)
def test_pictures(snap_compare: Any, make_app: MakeApp, home: Path, size: tuple[int, int]) -> None:
    """The newest kept study of the target, as it opens."""
    del home
    keep(design())

    async def shown(pilot: Pilot[None]) -> None:
        screen = await opened(pilot)
        await wait_for(pilot, lambda: "complete" in screen.query_one("#progress", TextLine).text)
        for _ in range(3):
            await pilot.pause()

    assert snap_compare(make_app(), terminal_size=size, run_before=shown)
