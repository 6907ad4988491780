"""Recording files: what is written can be read, and what is no recording is named in one sentence."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from fastdraft_core import recordings
from fastdraft_core.errors import FastdraftError
from fastdraft_core.events import Compared, PairLoaded, RunFinished, RunStarted
from fastdraft_core.recordings import SCHEMA, read_header, read_recording, write_recording

RECORDING = Path(__file__).parent / "app" / "recording.jsonl"


def refused(path: Path) -> str:
    """The sentence that reading ``path`` ends in."""
    with pytest.raises(FastdraftError) as error:
        read_recording(path)
    assert str(path) in error.value.message
    assert "\n" not in error.value.message
    return error.value.message


def test_a_recording_says_what_was_run_where_and_when() -> None:
    """Who gets the file by mail knows the pair, the settings, the machine and the versions."""
    header = read_header(RECORDING)
    assert header.schema == SCHEMA
    assert (header.load.target, header.load.draft, header.run.gamma) == ("demo", "demo:S", 4)
    assert header.made.startswith("20")
    assert header.machine is not None
    assert header.machine.cpu
    assert "torch" in header.machine.versions


def test_written_and_read_it_is_the_same(tmp_path: Path) -> None:
    """Nothing is lost or changed, also when it is written again, and by an older version that knew fewer fields."""
    recorded = read_recording(RECORDING)
    kinds = {type(event) for event in recorded.events}
    assert {PairLoaded, RunStarted, RunFinished, Compared} <= kinds
    copy = tmp_path / "new" / "copy.jsonl"
    write_recording(copy, recorded)
    assert read_recording(copy) == recorded
    again = tmp_path / "new" / "again.jsonl"
    write_recording(again, read_recording(copy))
    assert again.read_bytes() == copy.read_bytes()
    again.unlink()
    assert [path.name for path in copy.parent.iterdir()] == ["copy.jsonl"]


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9, 0.999])
def test_a_cut_recording_is_read_as_far_as_it_goes(tmp_path: Path, share: float) -> None:
    """A program that was killed leaves a file that still shows what happened before."""
    whole = RECORDING.read_bytes()
    path = tmp_path / "cut.jsonl"
    path.write_bytes(whole[: int(len(whole) * share)])
    recorded = read_recording(path)
    assert recorded.events == read_recording(RECORDING).events[: len(recorded.events)]
    assert "cut short" in recorded.problem


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b"hello\n",
        b"{}\n",
        b"[1, 2]\n",
        b'{"type":"block"}\n',
        b'{"type":"step","schema":1}\n',
        b"\xff\x00" * 999,
    ],
)
def test_a_foreign_file_is_called_that(tmp_path: Path, content: bytes) -> None:
    """Any other file is no recording, whatever is in it."""
    path = tmp_path / "foreign.jsonl"
    path.write_bytes(content)
    assert "is no recording of fastdraft" in refused(path)


def test_a_newer_format_asks_for_an_update(tmp_path: Path) -> None:
    """A recording of tomorrow's program is not shown wrong, it is refused with what to do."""
    header = json.loads(RECORDING.read_bytes().splitlines()[0])
    path = tmp_path / "new.jsonl"
    path.write_text(json.dumps({**header, "schema": SCHEMA + 1, "load": "otherwise"}) + "\n")
    assert "newer fastdraft" in refused(path)


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    """Bytes changed in the middle are no silent gap in a run."""
    lines = RECORDING.read_bytes().splitlines(keepends=True)
    path = tmp_path / "damaged.jsonl"
    path.write_bytes(b"".join([*lines[:5], b'{"type":"block","mode":7}\n', *lines[6:]]))
    assert "damaged in line 6" in refused(path)
    path.write_bytes(b"".join([lines[0].replace(b'"gamma":4', b'"gamma":"four"'), *lines[1:]]))
    assert "damaged in line 1" in refused(path)
    path.write_bytes(b"".join([lines[0].replace(b'"prompt":"', b'"prompt":"\xff'), *lines[1:]]))
    refused(path)


def test_a_header_alone_holds_no_run(tmp_path: Path) -> None:
    """An app that was closed while it warmed up recorded nothing to show."""
    path = tmp_path / "short.jsonl"
    path.write_bytes(RECORDING.read_bytes().splitlines(keepends=True)[0])
    assert "holds no run" in refused(path)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    """A folder, nothing at all, and a pipe that would wait for ever."""
    assert "is a folder" in refused(tmp_path)
    assert "There is no recording at" in refused(tmp_path / "nothing")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        assert "is no file" in refused(tmp_path / "pipe")


def test_a_disk_image_is_not_read_into_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file larger than any recording is refused before it is read."""
    monkeypatch.setattr(recordings, "_SIZE_LIMIT", 1000)
    path = tmp_path / "large.jsonl"
    path.write_bytes(RECORDING.read_bytes())
    assert "larger than a recording" in refused(path)
