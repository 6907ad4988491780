"""``fastdraft record``: what the live screen does, without a screen, into a file that it can show."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fastdraft_app.live.playback import Playback
from fastdraft_app.live.session import Phase
from fastdraft_app.settings.settings import Settings
from fastdraft_core.bench.tasks import bundled_prompts
from fastdraft_core.cli import main
from fastdraft_core.engine import process
from fastdraft_core.events import decode_message
from fastdraft_core.machine.bandwidth import Bandwidth
from fastdraft_core.recordings import read_recording

COMMON = ["--length", "12", "--runtime", "torch", "--dtype", "float32", "--threads", "1"]

Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def _no_bandwidth(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measuring the memory takes seconds and is not what is tested here."""
    peak = Bandwidth(
        single_thread=10, all_threads=10, threads=1, buffer_bytes=1, busy_share=0, method="", machine="", measured_on=""
    )
    monkeypatch.setattr(process, "measured_peak_bandwidth", lambda: peak)


@pytest.fixture
def record(monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]) -> Cli:
    """``fastdraft record ARGS``: its exit code, its data and what it said."""

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["fastdraft", "record", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capfdbinary.readouterr()
        return int(ended.value.code or 0), out.decode(), err.decode()

    return run


def test_both_ways_are_in_the_file_and_the_app_can_show_it(
    record: Cli, tiny_pair: tuple[str, str], tmp_path: Path
) -> None:
    """The command and the screen speak of the same: two runs, one comparison, the settings as asked."""
    target, draft = tiny_pair
    path = tmp_path / "deep" / "run.jsonl"
    code, told, said = record(
        target, "--draft", draft, "--preset", "stack class", "--gamma", "3", "--output", str(path), "--json", *COMMON
    )
    assert code == 0
    assert "speed-up" in said
    recorded = read_recording(path)
    assert recorded.problem == ""
    # A program is told what the file holds.
    assert [decode_message(line.encode()) for line in told.splitlines()] == recorded.events
    assert recorded.header.machine is not None
    playback = Playback(recorded, Settings())
    assert playback.session.phase is Phase.PLAYING
    assert set(playback.session.recording.tracks) == {"ar", "sd"}
    assert playback.session.recording.compared is not None
    settings = playback.settings
    assert (settings.target, settings.draft, settings.gamma, settings.length) == (target, draft, 3, 12)
    assert settings.prompt == next(prompt.text for prompt in bundled_prompts() if prompt.name == "stack class")


def test_a_draft_that_does_not_fit_leaves_no_file(record: Cli, tiny_pair: tuple[str, str], tmp_path: Path) -> None:
    """A recording without what was asked for would only surprise later."""
    path = tmp_path / "run.jsonl"
    code, _, said = record(tiny_pair[0], "--draft", str(tmp_path / "nowhere"), "--output", str(path), *COMMON)
    assert code == 1
    assert "no model folder" in said
    assert not path.exists()


def test_an_unknown_preset_names_the_known_ones(record: Cli, tiny_pair: tuple[str, str], tmp_path: Path) -> None:
    """A slip in the name is answered with the names."""
    code, _, said = record(tiny_pair[0], "--preset", "stak", "--output", str(tmp_path / "x.jsonl"), *COMMON)
    assert code == 1
    assert "stack class" in said
