"""Every run is recorded: by itself, whole, bounded, and never in the way of the run."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import msgspec
import pytest

from fastdraft_app.live import recordings
from fastdraft_app.live.recordings import Recorder, bundled, listed, machine_words, prune
from fastdraft_core import places
from fastdraft_core.events import Block, Cancel, Message, PairLoaded, Progress, RunFinished, RunStarted
from fastdraft_core.recordings import Recorded, finished, read_recording
from tests.app.helpers import RECORDING


@pytest.fixture
def source() -> Recorded:
    """A recorded run, to be sent through a recorder again."""
    return read_recording(RECORDING)


def run_through(recorder: Recorder, source: Recorded, *, upto: int | None = None) -> None:
    """One load and one run, as the engine would answer."""
    recorder.sent(source.header.load)
    assert source.header.machine is not None
    recorder.received(source.header.machine)
    first = next(index for index, event in enumerate(source.events) if isinstance(event, RunStarted))
    for event in source.events[:first]:
        recorder.received(event)
    recorder.sent(source.header.run)
    for event in source.events[first:upto]:
        recorder.received(event)


def files(folder: Path) -> list[Path]:
    """The recordings in ``folder``, oldest first."""
    return sorted(folder.glob("*.jsonl"))


def test_the_file_holds_every_event_as_it_came(tmp_path: Path, source: Recorded) -> None:
    """A recording of the run is the run: same events, same order, with its machine and settings."""
    recorder = Recorder(tmp_path, keep=5)
    recorder.received(Progress(what="loading"))
    run_through(recorder, source)
    recorder.end()
    (path,) = files(tmp_path)
    again = read_recording(path)
    assert again.events == source.events
    assert (again.header.load, again.header.run) == (source.header.load, source.header.run)
    assert again.header.machine == source.header.machine
    assert datetime.fromisoformat(again.header.made).tzinfo is not None
    assert recorder.recorded is not None
    assert recorder.recorded.events == source.events


def test_a_second_run_has_its_own_file_with_the_pair(tmp_path: Path, source: Recorded) -> None:
    """The pair is loaded once and run many times; each recording can stand alone."""
    recorder = Recorder(tmp_path, keep=5)
    run_through(recorder, source)
    recorder.sent(msgspec.structs.replace(source.header.run, gamma=7))
    for event in source.events[2:]:
        recorder.received(event)
    recorder.end()
    one, two = (read_recording(path) for path in files(tmp_path))
    assert one.header.run.gamma == source.header.run.gamma
    assert two.header.run.gamma == 7
    assert any(isinstance(event, PairLoaded) for event in two.events)
    assert len([event for event in two.events if isinstance(event, RunFinished)]) == 2


def test_a_cancelled_run_is_whole_and_an_unfinished_one_is_not(tmp_path: Path, source: Recorded) -> None:
    """Escape ends a recording in good order; a killed engine leaves one that is cut short."""
    recorder = Recorder(tmp_path, keep=5)
    blocks = [index for index, event in enumerate(source.events) if isinstance(event, Block)]
    run_through(recorder, source, upto=blocks[5])
    recorder.end()
    assert "cut short" in read_recording(files(tmp_path)[0]).problem
    run_through(recorder, source, upto=blocks[5])
    recorder.sent(Cancel())
    end = next(event for event in source.events if isinstance(event, RunFinished))
    recorder.received(msgspec.structs.replace(end, reason="cancelled"))
    assert read_recording(files(tmp_path)[1]).problem == ""


def test_events_of_a_run_called_off_are_not_taken_for_the_next(tmp_path: Path, source: Recorded) -> None:
    """Quick changes of gamma: what still comes of the old run does not stand under the new settings."""
    recorder = Recorder(tmp_path, keep=5)
    run_through(recorder, source, upto=3)
    recorder.sent(msgspec.structs.replace(source.header.run, gamma=9))
    stale: list[Message] = list(source.events[2:6])
    for event in [*stale, *source.events[2:]]:
        recorder.received(event)
    recorder.end()
    assert len(files(tmp_path)) == 2
    last = read_recording(files(tmp_path)[-1])
    assert last.header.run.gamma == 9
    assert finished(last.events)
    assert len([event for event in last.events if isinstance(event, RunStarted)]) == 2


def test_only_the_newest_are_kept(tmp_path: Path, source: Recorded) -> None:
    """The folder never holds more runs than the setting says; 0 records nothing but exports still work."""
    recorder = Recorder(tmp_path, keep=3)
    for _ in range(6):
        run_through(recorder, source)
    recorder.end()
    assert len(files(tmp_path)) == 3
    newest = files(tmp_path)[-1]
    prune(tmp_path, 1)
    assert files(tmp_path) == [newest]
    off = Recorder(tmp_path / "off", keep=0)
    run_through(off, source)
    assert not (tmp_path / "off").exists()
    assert off.recorded is not None


def test_long_runs_make_room_by_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A few very long runs do not fill the disk, however many may be kept; other files stay."""
    monkeypatch.setattr(recordings, "MOST_BYTES", 250)
    for number in range(5):
        (tmp_path / f"{number}.jsonl").write_bytes(b"x" * 100)
    (tmp_path / "mine.txt").write_text("mine")
    prune(tmp_path, 50)
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["3.jsonl", "4.jsonl", "mine.txt"]


def test_a_folder_that_cannot_be_written_disturbs_nothing(tmp_path: Path, source: Recorded) -> None:
    """The run goes on, and can be exported."""
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    recorder = Recorder(blocked, keep=5)
    run_through(recorder, source)
    recorder.end()
    assert recorder.recorded is not None
    assert recorder.recorded.events == source.events


def test_the_list_shows_own_runs_first_and_skips_what_is_none(source: Recorded) -> None:
    """Newest first, each with its speed-up; a foreign file in the folder is no row and no error."""
    recorder = Recorder(places.recordings(), keep=5)
    run_through(recorder, source)
    run_through(recorder, source)
    recorder.end()
    (places.recordings() / "foreign.jsonl").write_text("hello\n")
    own = [entry for entry in listed() if not entry.bundled]
    assert [entry.path.name for entry in own] == sorted((entry.path.name for entry in own), reverse=True)
    assert len(own) == 2
    assert own[0].speedup == pytest.approx(1.79, abs=0.01)


def test_the_bundled_recordings_are_short_and_whole() -> None:
    """What plays first of all: three complete runs of the bundled pair, small enough for a checkout."""
    paths = bundled()
    assert len(paths) == 3
    for path in paths:
        assert path.stat().st_size < 200_000
        recorded = read_recording(path)
        assert recorded.problem == ""
        assert recorded.header.load.target == "demo"
        assert recorded.header.machine is not None
        assert max(event.at for event in recorded.events if isinstance(event, Block)) < 20


def test_the_machine_is_named_without_trade_words(source: Recorded) -> None:
    """The label fits a narrow screen and still says what it was."""
    assert source.header.machine is not None
    machine = msgspec.structs.replace(
        source.header.machine, cpu="Intel(R) Core(TM) i7-1185G7 CPU @ 3.00GHz", physical_cores=4
    )
    header = msgspec.structs.replace(source.header, machine=machine, made="2026-02-03T10:00:00+01:00")
    assert machine_words(header) == "Intel Core i7-1185G7 @ 3.00GHz, 4 cores, 2026-02-03"
    assert "unknown machine" in machine_words(msgspec.structs.replace(header, machine=None))
