"""What the wizard finds out while one answers: models, devices, and how long it will take. Without Textual.

Processes of the command line find it out.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from fastdraft_app.client.preview import devices
from fastdraft_app.client.train import plan
from fastdraft_app.wizard.answers import Answers
from fastdraft_app.wizard.facts import Findings, known_problem
from fastdraft_app.wizard.questions import QUESTIONS, STEPS, Question
from fastdraft_core.events import Check
from fastdraft_core.models.local_models import ShelfModel, shelf
from fastdraft_core.training.recipe import TARGET_SOURCE, Recipe

MEASURING = "measuring this machine for the plan; launching need not wait for it"
_STAGES = {"PT data": "pt", "CP mixture": "cp"}

LookKind = Literal["speed", "samples"]
"""What F6 shows: how fast the device trains, or samples of the data."""


def look_of(step: int) -> LookKind | None:
    """What F6 does on a page; nothing on most of them."""
    title = STEPS[step].title
    if title == "Device":
        return "speed"
    return "samples" if title in _STAGES or title == "FT" else None


def sampled_sources(step: int, recipe: Recipe) -> list[str]:
    """The sources that a page shows samples of: those of its stage, or what the target writes."""
    stage = _STAGES.get(STEPS[step].title)
    return list(getattr(recipe, stage).sources) if stage else [TARGET_SOURCE]


class Looks:
    """What is known so far of this machine and of the training's length."""

    def __init__(self) -> None:
        self.known = Findings()
        self.plan: list[str] = []
        """Lines; those of the newest plan, or why there is none."""
        self._planned: tuple[Recipe, str] | None = None
        """What the plan is of: recipe and device; nothing where it could not be made."""

    def problem(self, question: Question, answers: Answers) -> str:
        """What is wrong with an answer, in itself or beside what is known here; empty if nothing."""
        return answers.problem(question) or known_problem(question, answers, self.known)

    async def find_devices(self) -> None:
        """Ask what can train here."""
        try:
            self.known.devices = await devices()
        except OSError as error:
            self.known.devices = [Check("devices", f"could not be asked for ({error})")]

    def is_planned(self, recipe: Recipe, device: str) -> bool:
        """Whether ``plan`` is of this recipe on this device."""
        return self._planned == (recipe, device)

    async def measure(self, recipe: Recipe, device: str, show: Callable[[], None]) -> None:
        """Make a plan of ``recipe`` on ``device``; ``show`` is called when ``plan`` has other words."""
        self._planned, self.plan = None, [MEASURING]
        show()
        try:
            made, self.plan = await plan(recipe, device)
        except OSError as error:
            made, self.plan = False, [f"The plan could not be made ({error})."]
        self._planned = (recipe, device) if made else None
        show()


def models_here(answers: Answers) -> list[ShelfModel]:
    """The models of this machine, with the target where it is a folder or file; none where they cannot be read. Reads the disk."""
    path = Path(answers.text(QUESTIONS["target"]).strip())
    try:
        path = path.expanduser()
        holds = path.parent if path.is_file() else path if (path / "config.json").is_file() else None
        return shelf([holds.resolve()] if holds is not None else [])
    except (OSError, RuntimeError, ValueError):
        return []
