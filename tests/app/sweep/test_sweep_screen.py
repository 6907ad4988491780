"""The sweep screen: one key starts a sweep, points come as they are measured, the verdict says what to use, enter opens it."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from textual.pilot import Pilot
from textual.widgets import Static

from fastdraft_app.app import FastdraftApp
from fastdraft_app.cli import parse
from fastdraft_app.client.engine import EngineClient
from fastdraft_app.client.sweep import SweepClient
from fastdraft_app.live.controller import DEBOUNCE_SECONDS
from fastdraft_app.live.session import Phase
from fastdraft_app.messages import SettingsChanged
from fastdraft_app.result_view.panel_chart import PanelChart
from fastdraft_app.result_view.point_screen import point_changes
from fastdraft_app.results.result_screen import ResultScreen
from fastdraft_app.settings.settings import Settings
from fastdraft_app.sweep.screen import SweepScreen
from fastdraft_app.sweep.session import SweepPhase
from fastdraft_app.sweep.setup import drafts_of, new_sweep, with_draft
from fastdraft_app.theme.palette import marks
from fastdraft_app.widgets.banner import Banner
from fastdraft_app.widgets.figure_rows import FigureRows
from fastdraft_app.widgets.line import TextLine
from fastdraft_core.events import Command, Load, Run
from fastdraft_core.events.sweeping import PointKey
from tests.app.helpers import RECORDING, fake_command, gone, live, wait_for
from tests.app.sweeps import fake_sweep, grid, keep, recorded
from tests.bench.points import measured
from tests.bench.points import result as result_of

Make = Callable[..., FastdraftApp]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """An app on a fake engine and a sweep that plays the recorded stream."""

    def make(*arguments: str, sweep: tuple[str, ...] = (), engine: tuple[str, ...] = ("--speed", "20")) -> FastdraftApp:
        return FastdraftApp(
            parse(["--no-intro", "--length", "40", *arguments]),
            EngineClient(tmp_path / "engine.log", fake_command(*engine)),
            SweepClient(tmp_path / "sweep.log", fake_sweep("--arguments", str(tmp_path / "given"), *sweep)),
        )

    return make


async def opened(pilot: Pilot[None]) -> SweepScreen:
    """The sweep screen."""
    await pilot.press("2")
    await wait_for(pilot, lambda: isinstance(pilot.app.screen, SweepScreen))
    await pilot.pause()
    screen = pilot.app.screen
    assert isinstance(screen, SweepScreen)
    return screen


def text(screen: SweepScreen, name: str) -> str:
    """What a line says."""
    return screen.query_one(f"#{name}", TextLine).text


def verdict(screen: SweepScreen) -> str:
    """The words on top."""
    return str(screen.query_one("#verdict", Static).render())


async def ended(pilot: Pilot[None], screen: SweepScreen) -> None:
    """The sweep is over and drawn."""
    await wait_for(pilot, lambda: screen.session.phase is SweepPhase.ENDED)
    await pilot.pause()


async def test_one_key_sweeps_the_bundled_pair(make: Make, tmp_path: Path) -> None:
    """Space, with nothing chosen: the defaults are given to ``fastdraft sweep``, and the answer stands in words."""
    async with make("--replay", str(RECORDING)).run_test(size=(80, 24)) as pilot:
        screen = await opened(pilot)
        assert "Is speculation worth it" in verdict(screen)
        assert "drafts XS S M" in text(screen, "setup")
        await pilot.press("space")
        await ended(pilot, screen)
        given = (tmp_path / "given").read_text().split("\n")
        assert given[:2] == ["sweep", "demo"]
        assert given[-1] == "--json"
        assert {"--draft=demo:XS", "--draft=demo:S", "--draft=demo:M", "--gamma=1-8", "--temperature=0", "--task=code,text",
                "--budget=5m"} <= set(given)  # fmt: skip
        assert verdict(screen).startswith("Use draft demo:M with gamma 3: 1.97x (1.04–3.72) on code")
        assert "machine was busy" in verdict(screen), "the caution is not what is left out"
        assert "6 of 36 points" in text(screen, "progress")


async def test_points_appear_as_they_are_measured_and_predicted_is_told_apart(make: Make) -> None:
    """Half of the stream: predicted figures have a mark, measured ones none; no verdict is claimed yet."""
    async with make("--replay", str(RECORDING), sweep=("--lines", "75")).run_test(size=(80, 24)) as pilot:
        screen = await opened(pilot)
        await pilot.press("space")
        await wait_for(pilot, lambda: screen.session.result and screen.session.result.predicted)
        await wait_for(pilot, lambda: "~" in screen.query_one("#heat", FigureRows).text)
        assert "So far: " in verdict(screen)
        assert "there is no verdict yet" in verdict(screen)
        assert "0/36" in text(screen, "progress")
        assert "left" in text(screen, "progress")
        await pilot.press("x")
        await ended(pilot, screen)
        assert verdict(screen).startswith("Stopped early.")


async def test_the_cursor_reads_a_point_and_enter_opens_it_in_the_live_screen(make: Make) -> None:
    """The cursor begins at what is recommended; the live screen runs that draft, gamma and temperature."""
    app = make()
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for(pilot, lambda: live(pilot).session.phase is Phase.DONE)
        screen = await opened(pilot)
        await pilot.press("space")
        await ended(pilot, screen)
        assert "M γ 3 code T 0" in text(screen, "point")
        assert "1.97× (1.04–3.72" in text(screen, "point")
        await pilot.press("up", "right")
        assert "S γ 4 code" in text(screen, "point")
        assert "not measured" in text(screen, "point")
        await pilot.press("g")
        assert "S γ 4 text" in text(screen, "point")
        await pilot.press("enter")
        await wait_for(pilot, lambda: app.current_mode == "live")
        await wait_for(pilot, lambda: live(pilot).session.phase is Phase.DONE, 60)
        started = live(pilot).session.recording.tracks["sd"].started
        assert (app.preferences.current.draft, started.gamma, started.temperature) == ("demo:S", 4, 0.0)
        presets = {preset.text: preset.task for preset in live(pilot).controller.presets}
        assert presets[started.prompt] == "text", "a prompt of the point's task"


async def test_a_point_opens_with_all_it_was_measured_with_and_for_this_session_only(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Threads, seed, length, formats and the prompt are the point's; the pair is loaded once; the settings file is untouched."""
    app = make()
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for(pilot, lambda: live(pilot).session.phase is Phase.DONE)
        screen = await opened(pilot)
        await pilot.press("space")
        await ended(pilot, screen)
        sent: list[Command] = []
        send = app.engine.send
        monkeypatch.setattr(app.engine, "send", lambda command: (sent.append(command), send(command))[1])
        before = app.preferences.path.read_text() if app.preferences.path.exists() else ""
        await pilot.press("enter")
        await wait_for(pilot, lambda: app.current_mode == "live")
        await wait_for(pilot, lambda: live(pilot).session.phase is Phase.DONE, 60)
        await pilot.pause(2 * DEBOUNCE_SECONDS)
        plan = screen.session.result.plan  # type: ignore[union-attr]
        (load,) = [command for command in sent if isinstance(command, Load)]
        (run,) = [command for command in sent if isinstance(command, Run)]
        assert (load.draft, load.runtime, load.threads) == ("demo:M", plan.runtime, plan.threads)
        assert (run.gamma, run.seed, run.max_new_tokens) == (3, plan.seed, plan.tasks[0].length)
        assert (app.preferences.path.read_text() if app.preferences.path.exists() else "") == before
        await pilot.press("]")
        await wait_for(pilot, lambda: app.preferences.path.exists() and "gamma = 4" in app.preferences.path.read_text())
        kept = tomllib.loads(app.preferences.path.read_text())
        assert "draft" not in kept, "what is changed afterwards is remembered alone"


def test_a_point_knows_its_formats_and_its_prompt() -> None:
    """As the plan has them; what was left to the machine stays so."""
    result = grid()
    task = msgspec.structs.replace(result.plan.tasks[0], prompt="Once upon", length=77)
    load = {"dtype": "bfloat16", "kv_precision": "", "weights": "int8", "runtime": "openvino", "threads": 0}
    result.plan = msgspec.structs.replace(
        result.plan, tasks=[task, *result.plan.tasks[1:]], load=load, runtime="openvino"
    )
    changes = point_changes(result, PointKey("demo:S", 2, 0.0, "code"), "mine")
    assert {name: changes[name] for name in ("dtype", "kv_precision", "weights", "prompt", "length", "threads")} == {
        "dtype": "bfloat16", "kv_precision": "auto", "weights": "int8", "prompt": "Once upon", "length": 77, "threads": 2,
    }  # fmt: skip
    Settings().with_changes(changes)


async def test_after_the_end_space_starts_what_the_line_on_top_shows(make: Make, tmp_path: Path) -> None:
    """Settings that were changed after a budget ended are those of the next sweep; u alone goes on with the old one."""
    app = make("--replay", str(RECORDING))
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await opened(pilot)
        await pilot.press("space")
        await ended(pilot, screen)
        assert "u goes on" in text(screen, "progress")
        assert "next" not in text(screen, "setup")
        app.take_settings(SettingsChanged({"sweep_gamma": "2,4"}))
        await wait_for(pilot, lambda: text(screen, "setup").startswith("next: "))
        assert "γ 2,4" in text(screen, "setup")
        (tmp_path / "given").unlink()
        await pilot.press("space")
        await wait_for(pilot, lambda: (tmp_path / "given").exists())
        await ended(pilot, screen)
        given = (tmp_path / "given").read_text().split("\n")
        assert "--gamma=2,4" in given
        assert not any(argument.startswith("--resume") for argument in given)


async def test_nothing_else_uses_the_processor_while_a_sweep_is_timed(make: Make) -> None:
    """A live run in progress is called off and said so; the engine is gone, r does not bring it back before the sweep ends."""
    app = make(sweep=("--lines", "10"), engine=("--speed", "0.2"))
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for(pilot, lambda: live(pilot).session.phase is Phase.TIMING)
        pid = app.engine.pid
        assert pid is not None
        screen = await opened(pilot)
        await pilot.press("space")
        await wait_for(pilot, lambda: screen.session.phase is SweepPhase.MEASURING)
        assert any("live run was cancelled" in note.message for note in app._notifications)
        assert await gone(pid)
        await pilot.press("enter")
        await pilot.pause()
        assert app.current_mode == "sweep", "a point cannot be opened meanwhile"
        await pilot.press("1")
        await wait_for(pilot, lambda: "sweep has the processor" in live(pilot).query_one(Banner).text)
        await pilot.press("r")
        await pilot.pause()
        assert not app.engine.running
        await pilot.press("2", "x")
        await ended(pilot, screen)
        await pilot.press("1")
        await wait_for(pilot, lambda: app.engine.running)


async def test_stop_and_go_on(make: Make, tmp_path: Path) -> None:
    """A stopped sweep goes on with what is kept: the same key, the same result."""
    app = make("--replay", str(RECORDING), sweep=("--lines", "80"))
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await opened(pilot)
        await pilot.press("space")
        await wait_for(pilot, lambda: screen.session.result and screen.session.result.predicted)
        await pilot.press("space")
        await ended(pilot, screen)
        assert "stopped: " in text(screen, "progress")
        assert "u goes on" in text(screen, "progress")
        app.sweeper._command = tuple(fake_sweep("--arguments", str(tmp_path / "given")))
        await pilot.press("u")
        await wait_for(pilot, lambda: screen.session.phase is not SweepPhase.ENDED)
        await ended(pilot, screen)
        given = (tmp_path / "given").read_text().split("\n")
        assert given[1] == f"--resume={recorded().plan.name}"
        assert screen.session.result is not None
        assert len(screen.session.result.measured) == 6


async def test_a_sweep_that_fails_says_why(make: Make) -> None:
    """The command line's own sentence, and where the log is; the app goes on."""
    async with make("--replay", str(RECORDING), sweep=("--fail", "There is no preset.")).run_test(
        size=(80, 24)
    ) as pilot:
        screen = await opened(pilot)
        await pilot.press("space")
        await wait_for(pilot, lambda: screen.session.phase is SweepPhase.FAILED)
        await wait_for(pilot, lambda: "There is no preset." in screen.query_one(Banner).text)
        assert "sweep.log" in screen.query_one(Banner).text
        assert "space tries again" in text(screen, "progress")


async def test_no_process_stays_behind(make: Make) -> None:
    """Quitting ends the sweep; its points are on disk."""
    app = make("--replay", str(RECORDING), sweep=("--lines", "20"))
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await opened(pilot)
        await pilot.press("space")
        await wait_for(pilot, lambda: screen.session.phase is SweepPhase.MEASURING)
        process = app.sweeper._process
        assert process is not None
    assert await gone(process.pid)


async def test_what_is_chosen_is_measured_next(make: Make, tmp_path: Path) -> None:
    """c sets gamma and budget, d takes drafts away; both are remembered as every setting is."""
    app = make("--replay", str(RECORDING))
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await opened(pilot)
        await pilot.press("c")
        await wait_for(pilot, lambda: app.screen.query("#set-sweep_gamma"))
        typed = app.screen.query_one("#set-sweep_gamma")
        typed.focus()
        typed.value = "2,4"  # type: ignore[attr-defined]
        await pilot.press("enter", "escape")
        await wait_for(pilot, lambda: app.screen is screen)
        await wait_for(pilot, lambda: "γ 2,4" in text(screen, "setup"))
        await pilot.press("d")
        await wait_for(pilot, lambda: app.screen is not screen)
        await pilot.press(*"demo:M")
        await wait_for(pilot, lambda: len(app.screen._rows) == 1)  # type: ignore[attr-defined]
        await pilot.press("enter")
        await wait_for(pilot, lambda: "drafts XS S  " in text(screen, "setup"))
        app.take_settings(SettingsChanged({"sweep_drafts": "demo:S"}))
        screen._take_draft("demo:S")
        await pilot.pause()
        assert app.preferences.current.sweep_drafts == "demo:S", "the last draft stays, and it is said"
        assert any("A sweep needs a draft" in note.message for note in app._notifications)
        app.take_settings(SettingsChanged({"sweep_drafts": "demo:XS,demo:S"}))
        await pilot.press("space")
        await ended(pilot, screen)
        given = (tmp_path / "given").read_text().split("\n")
        assert "--gamma=2,4" in given
        assert [argument for argument in given if argument.startswith("--draft=")] == [
            "--draft=demo:XS",
            "--draft=demo:S",
        ]


@pytest.mark.parametrize("ascii_only", [False, True])
@pytest.mark.parametrize("size", [(60, 16), (80, 24), (160, 48)])
async def test_charts_differ_without_colour_at_every_size(make: Make, size: tuple[int, int], ascii_only: bool) -> None:
    """Each draft has a mark of its own in table and chart; in ASCII mode no other character is sent."""
    keep(grid())
    app = make("--replay", str(RECORDING), *(["--ascii"] if ascii_only else []))
    async with app.run_test(size=size) as pilot:
        await pilot.press("5")
        await wait_for(pilot, lambda: getattr(app.screen, "entries", None))
        await pilot.press("enter")
        await wait_for(pilot, lambda: app.screen.query("#speedup"))
        await pilot.pause()
        screen = app.screen
        for chart in screen.query(PanelChart):
            if chart.display and chart.size.height >= 5:
                drawn = chart.render().plain
                assert all(mark in drawn for mark in ("o#^" if ascii_only else "●■▲")), chart.id
        assert sum(chart.display for chart in screen.query(PanelChart)) == (5 if size == (160, 48) else 1)
        words = "\n".join("".join(segment.text for segment in strip) for strip in screen._compositor.render_strips())
        assert not ascii_only or words.isascii()


def test_a_draft_with_a_comma_in_its_path_is_one_draft() -> None:
    """It stands in quotes in the settings, and comes out whole."""
    settings = Settings(sweep_drafts="demo:S")
    settings = settings.with_changes({"sweep_drafts": with_draft(settings, "/runs/a, b/draft")})
    assert drafts_of(settings) == ["demo:S", "/runs/a, b/draft"]
    assert "--draft=/runs/a, b/draft" in new_sweep(settings)
    assert with_draft(settings, "demo:S") == '"/runs/a, b/draft"'


def test_the_papers_setting_and_prompt_files_are_given_on() -> None:
    """A preset decides gamma, temperature and tasks; a file of prompts takes the place of tasks."""
    paper = new_sweep(Settings(sweep_preset="paper"))
    assert "--preset=paper" in paper
    assert not any(argument.startswith(("--gamma", "--temperature", "--task")) for argument in paper)
    own = new_sweep(Settings(sweep_file="mine.jsonl", sweep_field="q"))
    assert {"--prompt-file=mine.jsonl", "--field=q", "--gamma=1-8"} <= set(own)
    assert not any(argument.startswith("--task") for argument in own)


def test_eight_drafts_have_eight_marks() -> None:
    """Colours come round again after four; the shapes do not."""
    for ascii_only in (False, True):
        assert len(set(marks(ascii_only).points)) == 8


@pytest.mark.parametrize("number", [1, 2])
def test_a_sweep_can_be_stopped_where_there_are_no_signals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Windows refuses SIGINT for another process; the screen must not fall over it."""

    class Process:
        returncode = None
        ended = 0

        def send_signal(self, sign: int) -> None:
            raise ValueError(f"Unsupported signal: {sign}")

        def terminate(self) -> None:
            self.ended += 1

    client, process = SweepClient(tmp_path / "log"), Process()
    monkeypatch.setattr(client, "_process", process)
    for _ in range(number):
        client.ask_to_stop()
    assert process.ended == number


async def test_names_of_many_drafts_lie_over_none(make: Make) -> None:
    """Seven drafts whose lines end together: every name that is drawn is whole, and each has its own row."""
    names = tuple(f"draft-{number}" for number in range(7))
    points = [measured(name, gamma, "code", 1.2 + 0.01 * n) for n, name in enumerate(names) for gamma in (1, 2, 4)]
    result = result_of(*points, drafts=names, tasks=("code",))
    app = make("--replay", str(RECORDING))
    async with app.run_test(size=(160, 48)) as pilot:
        await app.push_screen(ResultScreen(result, app.preferences))
        await pilot.pause()
        chart = app.screen.query_one("#speedup", PanelChart)
        await wait_for(pilot, lambda: "draft-0" in str(chart.render()))
        assert all(str(chart.render()).count(name) == 1 for name in names)


async def test_a_chart_without_room_says_so(make: Make) -> None:
    """And does not claim that nothing was measured."""
    app = make("--replay", str(RECORDING))
    drafts = tuple(f"draft-{number}" for number in range(7))
    result = result_of(measured("draft-0"), drafts=drafts)
    async with app.run_test(size=(80, 20)) as pilot:
        await app.push_screen(ResultScreen(result, app.preferences))
        await pilot.pause()
        chart = app.screen.query_one("#speedup", PanelChart)
        await wait_for(pilot, lambda: "no room for a chart" in str(chart.render()))
        assert chart.size.height < 5
