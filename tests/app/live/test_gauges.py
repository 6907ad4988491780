"""The gauges: their histories add up, their words are true, and they fit."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual.app import App, ComposeResult
from textual.content import Content
from textual.geometry import Region

from fastdraft_app.client.system import UsageMonitor
from fastdraft_app.live.gauge_panel import GaugePanel
from fastdraft_app.live.gauge_rows import (
    EngineLoad,
    FirstTokens,
    GaugeState,
    Memory,
    acceptance_column,
    acceptance_width,
    block_column,
    compact_rows,
    medium_rows,
    race_rows,
    speed_column,
)
from fastdraft_app.live.replay import Figures, Track
from fastdraft_app.live.time_buckets import ByPosition, slices
from fastdraft_app.theme.palette import marks
from fastdraft_app.widgets.figure_rows import FigureRows
from fastdraft_app.widgets.spark import spark
from fastdraft_core.decoding.records import Pass
from fastdraft_core.decoding.totals import by_position
from fastdraft_core.events import Block, BlockCost, FirstToken, RunStarted, Token
from tests.app.conftest import MakeApp
from tests.app.helpers import live, wait_for

from .test_live_screen import Phase, banner, line, wait_phase

GAMMA = 4


@st.composite
def passes(draw: st.DrawFn) -> list[Pass]:
    """Blocks of any outcome; some end with an accepted stop."""
    found, at = [], 0.0
    for _ in range(draw(st.integers(1, 30))):
        drafted = draw(st.integers(0, GAMMA))
        accepted = draw(st.integers(0, drafted))
        stopped = accepted > 0 and draw(st.booleans())
        parts = [draw(st.floats(1e-4, 0.1)) for _ in range(3)]
        at += sum(parts)
        judged = accepted if stopped else min(accepted + 1, drafted)
        found.append(Pass([1] * drafted, judged, accepted, None if stopped else 7, at, *parts, context=9))
    return found


def recorded(found: Sequence[Pass]) -> Track:
    """The same as the app gets it."""
    track = Track(
        RunStarted(
            mode="sd",
            prompt="p",
            prompt_tokens=1,
            gamma=GAMMA,
            temperature=0,
            top_k=0,
            top_p=1,
            seed=1,
            max_new_tokens=9,
        ),
        FirstToken(mode="sd", token=Token(id=0), prefill_seconds=0.1),
    )
    for index, p in enumerate(found):
        states = ["accepted"] * p.accepted + ["rejected"] * (p.judged - p.accepted)
        states += ["discarded"] * (len(p.drafted) - len(states))
        track.add(
            Block(
                mode="sd", index=index, drafted=[Token(id=1, state=state) for state in states],
                extra=None if p.extra is None else Token(id=7, state="bonus"), at=p.at, draft_seconds=p.draft_seconds,
                verify_seconds=p.verify_seconds, overhead_seconds=p.overhead_seconds, context=9, bytes_read=1000,
            )
        )  # fmt: skip
    return track


@given(passes(), st.data())
def test_slices_add_up(found: list[Pass], data: st.DataObject) -> None:
    """However the time is cut, nothing is lost and nothing counted twice."""
    track, steps = recorded(found), data.draw(st.integers(1, len(found) + 1))
    axis = track.seconds * data.draw(st.floats(1, 3))
    cut = slices(track, steps, axis, data.draw(st.integers(1, 50)))
    assert sum(s.blocks for s in cut) == pytest.approx(steps - 1)
    assert sum(s.tokens for s in cut) == pytest.approx(sum(len(p.emitted) for p in found[: steps - 1]))
    assert sum(s.bytes_read for s in cut) == pytest.approx(1000 * (steps - 1))
    assert sum(s.seconds for s in cut) == pytest.approx(found[steps - 2].at if steps > 1 else 0)
    assert all(s.seconds > 0 and s.blocks > 0 for s in cut)


def test_a_steady_run_has_a_level_history() -> None:
    """A block that lies in two slices shows in both by its share, so that the chart has no teeth of its own."""
    track = recorded([Pass([1] * 4, 4, 3, 7, 0.1 * (i + 1), 0.02, 0.07, 0.01, context=9) for i in range(10)])
    for columns in (1, 3, 7, 40):
        cut = slices(track, 11, track.seconds, columns)
        assert len(cut) == columns
        for s in cut:
            assert s.tokens_per_second == pytest.approx(40)
            assert (s.acceptance, s.tau) == pytest.approx((0.75, 4))
            assert s.milliseconds == pytest.approx((20, 70, 10))
            assert s.gigabytes_per_second == pytest.approx(1e-5)
    assert len(slices(track, 6, track.seconds, 40)) == 20, "a run that is half way fills half of the axis"


def test_no_run_has_no_history() -> None:
    """Before the first block there is nothing to cut."""
    track = recorded([Pass([], 0, 0, 7, 0.1, 0, 0.1, 0, context=9)])
    assert slices(None, 5, 1, 10) == slices(track, 0, 1, 10) == slices(track, 1, 1, 10) == slices(track, 2, 1, 0) == []
    assert ByPosition().at(None, 0) == ([], [])


@given(passes(), st.data())
def test_acceptance_by_position_is_that_of_core(found: list[Pass], data: st.DataObject) -> None:
    """Moving forth and back over the run, the bars show what core computes of the blocks on screen."""
    track, shown = recorded(found), ByPosition()
    for blocks in data.draw(st.lists(st.integers(0, len(found)), min_size=1, max_size=5)):
        ours = shown.at(track, blocks + 1)
        theirs = by_position(found[:blocks], GAMMA)
        assert tuple([value or 0.0 for value in values] for values in ours) == theirs


def test_sparks() -> None:
    """Heights are shares of the top; zero differs from nothing; the newest stay where there is little room."""
    mark = marks(False)
    assert spark([0, 0.5, 1, None, 2], 1, 6, mark) == ["▁▄█ █ "]
    assert spark([0.25, 0.75], 1, 2, mark, rows=2) == [" ▄", "▄█"]
    assert spark([1, 2, 3], 3, 2, mark) == ["▅█"]
    assert spark([1], 0, 1, mark) == ["▁"]
    assert spark([0, 1], 1, 2, marks(True))[0].isascii()


def state(**changes: object) -> GaugeState:
    """A run with everything known."""
    figures = Figures(127, 0.5, 254.0, 0.71, 3.4, 2.93, 0.18, 0.79, 0.03, 5.2)
    track = recorded([Pass([1] * 4, 4, 3, 7, 0.01 * (i + 1), 0.002, 0.007, 0.001, context=9) for i in range(50)])
    known = GaugeState(
        slow=replace(figures, tokens_per_second=138.2, gigabytes_per_second=6.0), fast=figures, gamma=GAMMA,
        first=FirstTokens(0.02, 0.021), seconds=0.9, history=lambda mode, columns: slices(track, 51, 0.9, columns),
        joint=[0.92, 0.81, 0.66, 1.0], conditional=[0.92, 0.88, 0.81, None],
        cost=BlockCost(drafted=4, draft=0.106, verify=1.2, overhead=0.04, break_even=0.38),
        memory=Memory(12.6, lower_bound=False, cache_bound=False), load=EngineLoad([612_000_000] * 9, [1.98] * 9),
    )  # fmt: skip
    return replace(known, **changes)  # type: ignore[arg-type]


def plain(rows: Sequence[Content]) -> str:
    """The rows without their styles."""
    return "\n".join(row.plain for row in rows)


@given(st.integers(70, 200), st.integers(1, 12), st.booleans(), st.booleans())
def test_every_row_fits(width: int, gamma: int, ascii_only: bool, empty: bool) -> None:
    """Nothing is cut off at any width, gamma and in ASCII, before and after there are figures."""
    mark = marks(ascii_only)
    shown = GaugeState(gamma=gamma) if empty else state(gamma=gamma, joint=[1.0] * gamma, conditional=[1.0] * gamma)
    column = (width - 8) // 3
    rows = [*compact_rows(shown, width, mark), *medium_rows(shown, width, mark), *race_rows(shown, width, mark)]
    assert [row.plain for row in rows if row.cell_length > width] == []
    columns = [speed_column(shown, max(column, 40), mark), block_column(shown, max(column, 40), mark)]
    assert [row.plain for rows in columns for row in rows if row.cell_length > max(column, 40)] == []
    acceptance = acceptance_column(shown, acceptance_width(gamma), mark)
    assert [row.plain for row in acceptance if row.cell_length > acceptance_width(gamma)] == []
    assert len(acceptance) == len(columns[0]) == len(columns[1]) == 8
    assert not ascii_only or plain([*rows, *acceptance, *columns[0], *columns[1]]).isascii()


def test_everything_is_on_a_small_terminal() -> None:
    """80x24: acceptance in total and by position, tau, MBSU, the split of the time, speed, bandwidth, the engine."""
    words = plain(compact_rows(state(), 78, marks(False)))
    for part in ("71 %", "τ 3.4/5", "MBSU 2.93", "joint ▇▆▅█", "draft 18 %", "verify 79 %", "overhead  3 %", "AR ", "SD ",
                 "5.2 GB/s 41 % of peak", "engine 612 MB 198 % CPU"):  # fmt: skip
        assert part in words
    assert "╋" in words


def test_everything_is_on_a_large_terminal() -> None:
    """160x48: the same with units and numbers for each position."""
    mark = marks(False)
    speed, acceptance, block = (
        plain(column(state(), 50, mark)) for column in (speed_column, acceptance_column, block_column)
    )
    for part in ("138.2 tok/s", "254.0 tok/s", "first token 20 ms", "5.2 GB/s", "41 % of peak 12.6", "0.90 s"):
        assert part in speed
    for part in ("71 %", "break-even 38 %", "3.40/5", "MBSU 2.93", "92  81  66 100 %", "92  88  81   - %"):
        assert part in acceptance
    for part in ("2.41 ms  18 %", "10.57 ms  79 %", "v 1.20", "c 0.106", "a block 1.66", "612 MB memory", "198 % CPU"):
        assert part in block


def test_bandwidth_is_labelled_where_a_share_would_mislead() -> None:
    """Weights in the cache have no share of the memory's peak; a peak taken on a busy machine is too low."""
    mark = marks(False)
    cached = plain(compact_rows(state(memory=Memory(12.6, lower_bound=False, cache_bound=True)), 78, mark))
    assert "5.2 GB/s cache-bound" in cached
    assert "of peak" not in cached
    busy = plain(compact_rows(state(memory=Memory(12.6, lower_bound=True, cache_bound=False)), 90, mark))
    assert "≤ 41 % of peak" in busy
    unknown = plain(compact_rows(state(memory=None), 78, mark))
    assert "5.2 GB/s" in unknown
    assert "peak" not in unknown


def test_break_even_out_of_reach_is_said() -> None:
    """No notch on the bar, and words that no acceptance is enough."""
    cost = BlockCost(drafted=4, draft=1.0, verify=4.0, overhead=0.1, break_even=1.8)
    words = plain(acceptance_column(state(cost=cost), 50, marks(False)))
    assert "break-even > 100 %" in words
    assert "╋" not in words


class RowsApp(App[None]):
    """Nothing but rows of figures."""

    def compose(self) -> ComposeResult:
        """The widget under test."""
        yield FigureRows(id="rows")


async def test_a_growing_chart_repaints_only_what_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Over a slow line a new value costs one cell, not the whole panel; a new theme repaints all of it."""
    async with RowsApp().run_test(size=(30, 5)) as pilot:
        rows = pilot.app.query_one(FigureRows)
        rows.show(Content("speed ▁▂"), Content("other 12"))
        await pilot.pause()
        assert [rows.render_line(y).text.rstrip() for y in (0, 1)] == ["speed ▁▂", "other 12"]
        painted: list[Region] = []
        monkeypatch.setattr(rows, "refresh", lambda *regions, **_: painted.extend(regions))
        rows.show(Content("speed ▁▂▅"), Content("other 12"))
        assert painted == [Region(8, 0, 1, 1)]
        assert rows.render_line(0).text.rstrip() == "speed ▁▂▅"
        rows.show(Content("speed ▁▂▅"), Content("other 12"))
        assert len(painted) == 1
        rows.show(Content("speed ▁▂▅"), Content.styled("other 12", "bold"))
        assert painted[1:] == [Region(0, 1, 8, 1)]


async def test_the_engine_s_load_is_real() -> None:
    """A process that computes shows about one core and its memory; when it is gone there are no figures."""
    code = "x = bytearray(50_000_000)\nwhile True: pass"
    monitor = UsageMonitor()
    with subprocess.Popen([sys.executable, "-c", code]) as process:
        await asyncio.sleep(0.3)
        monitor.poll(process.pid)
        assert not monitor.samples, "the first look has no time before it"
        await asyncio.sleep(0.5)
        monitor.poll(process.pid)
        (usage,) = monitor.samples
        assert usage.memory > 50_000_000
        # Other work may take most of the core; a sleeping process would show nothing.
        assert 0.02 < usage.cpu < 1.5
        process.kill()
    monitor.poll(process.pid)
    assert not monitor.samples
    monitor.poll(None)
    assert not monitor.samples


async def test_gauges_of_a_whole_run(make_app: MakeApp) -> None:
    """On a large terminal: acceptance by position, the memory's share and the engine's memory, from real messages."""
    async with make_app().run_test(size=(160, 48)) as pilot:
        await wait_phase(pilot, Phase.DONE)
        await wait_for(pilot, lambda: "MB memory" in line(pilot, "block"))
        await wait_for(pilot, lambda: "of peak 12.6" in line(pilot, "speed"))
        assert "break-even 16 %" in line(pilot, "acceptance")
        assert "▁" <= max(line(pilot, "speed")) <= "█"
        assert line(pilot, "acceptance").splitlines()[3].split() == ["position", "1", "2", "3", "4"]


async def test_models_in_the_cache_are_called_cache_bound(make_app: MakeApp) -> None:
    """48 MB of weights in a cache of 64 MiB."""
    async with make_app(fake=("--speed", "20", "--cache", str(64 << 20))).run_test(size=(80, 24)) as pilot:
        await wait_phase(pilot, Phase.DONE)
        await wait_for(pilot, lambda: "cache-bound" in line(pilot, "speculation"))


async def test_the_engine_is_asked_after_only_in_sight(make_app: MakeApp) -> None:
    """Under another screen nobody polls."""
    async with make_app().run_test(size=(80, 24)) as pilot:
        await wait_phase(pilot, Phase.DONE)
        gauges = live(pilot).query_one(GaugePanel)
        assert gauges._poll_timer._active.is_set()
        await pilot.press("question_mark")
        await wait_for(pilot, lambda: not gauges._poll_timer._active.is_set())
        await pilot.press("escape")
        await wait_for(pilot, lambda: gauges._poll_timer._active.is_set())


async def test_a_slower_run_is_explained(make_app: MakeApp) -> None:
    """When speculation does not pay, the banner says why, from the replay's start until the next run."""
    why = "Slower because verifying is dear."
    async with make_app(fake=("--speed", "2", "--slower", why)).run_test(size=(80, 24)) as pilot:
        await wait_phase(pilot, Phase.PLAYING)
        await wait_for(pilot, lambda: banner(pilot) == why)
        await pilot.press("r")
        await wait_for(pilot, lambda: banner(pilot) == "")
