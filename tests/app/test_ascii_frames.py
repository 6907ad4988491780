"""On a terminal without Unicode no frame of any screen is drawn with it."""

from __future__ import annotations

from textual.screen import Screen

from fastdraft_app.jobs.job_list import JobList
from fastdraft_app.jobs.job_screen import JobScreen
from fastdraft_app.results.result_screen import ResultScreen
from fastdraft_app.sweep.screen import SweepScreen
from fastdraft_app.system.screen import SystemScreen
from tests.app.jobs.test_jobs_screen import open_jobs
from tests.app.results.test_results_screen import compared, listed

from .conftest import MakeApp
from .helpers import RECORDING, wait_for
from .job_folders import every_state
from .sweeps import grid, keep

PLAIN = ("", "none", "hidden", "blank", "ascii")


def frames(screen: Screen[object]) -> list[str]:
    """Widgets, hidden ones too, with an edge that ASCII does not have."""
    edges = ("top", "bottom", "left", "right")
    return [
        f"{widget.id} {edge} {kind}"
        for widget in screen.query("*")
        for edge in edges
        if (kind := getattr(widget.styles, f"border_{edge}")[0]) not in PLAIN
    ]


async def test_no_frame_needs_unicode(make_app: MakeApp) -> None:
    """The live screen, a sweep, results, jobs and this machine, with their charts and banners."""
    keep(grid("20260102-030405-demo"))
    keep(grid("20260103-030405-demo"))
    every_state()
    app = make_app("--replay", str(RECORDING), "--ascii")
    async with app.run_test(size=(160, 48)) as pilot:
        await pilot.pause()
        found = {"live": frames(app.screen)}
        await pilot.press("2")
        await wait_for(pilot, lambda: isinstance(app.screen, SweepScreen))
        found["sweep"] = frames(app.screen)
        found["results"] = frames(await listed(pilot))
        await compared(pilot)
        found["compare"] = frames(app.screen)
        await pilot.press("escape", "enter")
        await wait_for(pilot, lambda: isinstance(app.screen, ResultScreen))
        found["result"] = frames(app.screen)
        await pilot.press("escape")
        jobs = await open_jobs(pilot, 5)
        found["jobs"] = frames(jobs)
        jobs.query_one(JobList).choose("over-the-weekend")
        await pilot.press("enter")
        await wait_for(pilot, lambda: isinstance(app.screen, JobScreen))
        await pilot.pause()
        found["job"] = frames(app.screen)
        await pilot.press("7")
        await wait_for(pilot, lambda: isinstance(app.screen, SystemScreen) and app.screen.checks)
        found["system"] = frames(app.screen)
    assert {name: odd for name, odd in found.items() if odd} == {}
