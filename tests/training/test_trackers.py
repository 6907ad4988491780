"""``log_with``: figures of a training in TensorBoard's files and in any tracker of accelerate's kind; nowhere unless asked."""

from __future__ import annotations

import importlib.util
import struct
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from accelerate import tracking

from fastdraft_core.errors import FastdraftError
from fastdraft_core.events import Evaluated, Progress, StageFinished, Step
from fastdraft_core.jobs.run import run_job
from fastdraft_core.training import trackers
from fastdraft_core.training.recipe import load_recipe
from tests.commands import Cli
from tests.jobs.tiny import tiny_recipe, write_world


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A target and texts for it."""
    return write_world(tmp_path_factory.mktemp("world"))


def test_tensorboard_reads_what_a_training_told(world: Path, tmp_path: Path) -> None:
    """Loss, rates and held-out figures lie in the job's folder, step by step, stages after one another."""
    recipe = tiny_recipe(world, steps=2, log_with=["tensorboard"])
    events = list(run_job(recipe, tmp_path / "job"))
    assert isinstance(events[-1], StageFinished)
    scalars = read_scalars(tmp_path / "job" / trackers.LOGS / "fastdraft")
    told = {event.step: event.loss for event in events if isinstance(event, Step)}
    assert scalars["pt/loss"] == pytest.approx(told)
    (source,) = {source for event in events if isinstance(event, Evaluated) for source in event.loss}
    judged = {event.step: event.loss[source] for event in events if isinstance(event, Evaluated)}
    assert scalars[f"pt/held_out_loss/{source}"] == pytest.approx(judged)
    assert set(scalars) >= {"pt/learning_rate", "pt/tokens_per_second", f"pt/expected_acceptance/{source}"}


def test_nothing_is_logged_unless_a_recipe_says_so(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No tracker is made and no folder; the events are the same."""
    monkeypatch.setattr(tracking, "LOGGER_TYPE_TO_CLASS", {})
    job = tmp_path / "job"
    for _ in run_job(tiny_recipe(world, steps=1), job):
        pass
    assert not (job / trackers.LOGS).exists()


class Kept(tracking.GeneralTracker):
    """A tracker of accelerate's interface that keeps what it is given, and fails from its second row on."""

    name = "wandb"
    requires_logging_directory = False
    made: Any = None

    def __init__(self, run_name: str, **options: Any) -> None:
        super().__init__()
        self.run_name, self.options, self.rows, self.config = run_name, options, [], {}
        self.finished = False
        Kept.made = self

    @property
    def tracker(self) -> Any:
        """Itself."""
        return self

    def store_init_configuration(self, values: dict[str, Any]) -> None:
        """Keep the recipe."""
        self.config = values

    def log(self, values: dict[str, Any], step: int | None = None, **_: Any) -> None:
        """Keep a row, once."""
        if self.rows:
            raise ConnectionError("the server is gone")
        self.rows.append((step, values))

    def finish(self) -> None:
        """Take note."""
        self.finished = True


def test_a_tracker_that_fails_ends_no_training(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told the job's name and the recipe, its failure is said in words, and the training goes on without it."""
    monkeypatch.setattr(tracking, "LOGGER_TYPE_TO_CLASS", {"wandb": Kept})
    monkeypatch.setattr(trackers, "check_trackers", lambda recipe: None)
    monkeypatch.setattr("fastdraft_core.training.stages.check_trackers", lambda recipe: None)
    events = list(run_job(tiny_recipe(world, steps=2, log_with=["wandb"]), tmp_path / "job"))
    assert isinstance(events[-1], StageFinished)
    assert Kept.made.run_name == "fastdraft"
    assert Kept.made.options["name"] == "job"
    assert Kept.made.config["pt.batch_tokens"] > 0
    assert len(Kept.made.rows) == 1
    told = [event.what for event in events if isinstance(event, Progress)]
    assert "wandb gets no more figures: the server is gone" in told


def test_a_library_that_is_missing_is_one_sentence(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before a job is made; the sentence says what to install. A name that there is not is the recipe's mistake."""
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "trackio" else find(name, *a))
    code, _, err = cli("train", "demo-tiny", "--set", 'log_with=["trackio"]', "--detach")
    assert code == 1
    assert "pip install trackio" in err
    assert cli("jobs", "--json")[1] == ""
    with pytest.raises(FastdraftError, match="log_with"):
        load_recipe("demo-tiny", ['log_with=["mlflow"]'])


def read_scalars(folder: Path) -> dict[str, dict[int, float]]:
    """The scalars of TensorBoard's event files in ``folder`` itself, by tag and step."""
    from tensorboardX.proto.event_pb2 import Event

    found: dict[str, dict[int, float]] = defaultdict(dict)
    for file in folder.glob("events.out.tfevents.*"):
        for record in _records(file.read_bytes()):
            event = Event.FromString(record)
            for value in event.summary.value:
                if value.WhichOneof("value") == "simple_value":
                    found[value.tag][event.step] = value.simple_value
    return found


def _records(data: bytes) -> Iterator[bytes]:
    """Each record: its length in 8 bytes, 4 bytes of checksum, the bytes, 4 bytes of checksum."""
    place = 0
    while place < len(data):
        (length,) = struct.unpack_from("<Q", data, place)
        yield data[place + 12 : place + 12 + length]
        place += 16 + length
