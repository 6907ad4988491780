"""Reading a job: incrementally, through damage, and thinned so that a chart loses no peak."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from fastdraft_core import places
from fastdraft_core.errors import FastdraftError
from fastdraft_core.events import (
    Checkpointed,
    Evaluated,
    Event,
    JobEnded,
    JobStarted,
    Progress,
    Scored,
    StageAcceptance,
    StageFinished,
    StageStarted,
    Step,
    Synthesized,
    encode,
)
from fastdraft_core.jobs.curve import curve_of, thin
from fastdraft_core.jobs.describe import describe
from fastdraft_core.jobs.folder import EVENTS, EventFile, claim, reserve
from fastdraft_core.jobs.history import EventLog, History
from fastdraft_core.jobs.processes import this_process
from fastdraft_core.jobs.record import Process, Record, job_state, write_record
from fastdraft_core.jobs.view import JobReader, list_jobs
from tests.jobs.tiny import STEP_TOKENS, tiny_recipe


def step(number: int, stage: str = "pt", loss: float = 2.0, rate: float = 100.0, steps: int = 20) -> Step:
    """One step of a small training."""
    return Step(
        stage=stage,
        step=number,
        num_steps=steps,
        tokens=number * STEP_TOKENS,
        loss=loss,
        learning_rate=0.01,
        gradient_norm=1.0,
        tokens_per_second=rate,
        data_wait_share=0.0,
    )


def started(at: int = 0, stage: str = "pt", steps: int = 20) -> StageStarted:
    return StageStarted(stage=stage, step=at, num_steps=steps, tokens_per_step=STEP_TOKENS, parameters=1000)


def job(name: str, events: list[Event], **record: object) -> Path:
    """A job folder with these events and this record; no record without a state."""
    folder = places.jobs() / name
    claim(tiny_recipe(name=name), folder)
    (folder / EVENTS).write_bytes(b"".join(map(encode, events)))
    if record:
        values = dict(ticket=1, created=1.0, changed=1.0, folder="/", device="cpu") | record
        write_record(folder, Record(**values))  # type: ignore[arg-type]
    return folder


def test_following_reads_only_what_is_new(tmp_path: Path) -> None:
    """A screen that polls twice a second must not read the whole file each time; half a line waits for its end."""
    path = tmp_path / EVENTS
    log = EventLog(path)
    assert log.read() == []
    line = encode(step(1))
    path.write_bytes(line + line[:20])
    assert log.read() == [step(1)]
    assert log.cut
    assert log.read() == []
    with path.open("ab") as file:
        file.write(line[20:] + encode(step(2)))
    assert log.read() == [step(1), step(2)]
    assert not log.cut
    assert log.damaged == 0


@given(
    st.lists(st.sampled_from([b"", b"{", b"\xff\xfe", b'{"type":"step"}', b'{"type":"of a later version"}', b"null"]))
)
def test_no_line_is_fatal(lines: list[bytes]) -> None:
    """A crash or a newer program leaves lines that are no event; those around them are read."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / EVENTS
        path.write_bytes(encode(step(1)) + b"".join(line + b"\n" for line in lines) + encode(step(2)))
        log = EventLog(path)
        assert log.read() == [step(1), step(2)]
        assert log.damaged == sum(map(bool, lines))


def test_a_line_that_a_crash_cut_does_not_swallow_the_next_one(tmp_path: Path) -> None:
    """kill -9 in the middle of a write: the resumed job's first event begins a line of its own."""
    (tmp_path / EVENTS).write_bytes(encode(step(1)) + encode(step(2))[:30])
    with EventFile(tmp_path) as file:
        file.write(started(1))
    log = EventLog(tmp_path / EVENTS)
    assert log.read() == [step(1), started(1)]
    assert log.damaged == 1


def test_a_disk_that_takes_nothing_is_an_error_for_the_user(tmp_path: Path) -> None:
    """The sentence says which file and what to do."""
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full")
    (tmp_path / EVENTS).symlink_to("/dev/full")
    with pytest.raises(FastdraftError, match=r"No space left on device.*Free some space"), EventFile(tmp_path) as file:
        file.write(step(1))


def test_the_reserve_is_bytes_and_not_a_hole(tmp_path: Path) -> None:
    """A hole would give nothing back on a full disk."""
    reserve(tmp_path)
    assert (tmp_path / ".reserve").stat().st_blocks * 512 >= 64 << 10


def test_steps_that_are_done_again_are_drawn_once() -> None:
    """After kill -9 the steps since the checkpoint come again; the curve must not run back and forth."""
    history = History()
    history.add([started(), *(step(n, loss=9.0) for n in range(1, 8))])
    history.add([started(4), *(step(n, loss=1.0) for n in range(5, 10))])
    assert [(s.step, s.loss) for s in history.stages["pt"].steps] == [
        *((n, 9.0) for n in range(1, 5)),
        *((n, 1.0) for n in range(5, 10)),
    ]


@given(
    st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=400).map(lambda ys: [(float(x), y) for x, y in enumerate(ys)]),
    st.integers(4, 60),
)
def test_thinning_keeps_ends_peaks_and_order(points: list[tuple[float, float]], limit: int) -> None:
    """A spike of the loss is what one looks for; a mean would hide it."""
    kept = thin(points, limit)
    assert len(kept) <= limit
    assert kept == sorted(set(kept))
    assert set(kept) <= set(points)
    assert (kept[0], kept[-1]) == (points[0], points[-1])
    heights = [y for _, y in points]
    assert {min(heights), max(heights)} <= {y for _, y in kept}


def test_a_running_job_in_a_summary() -> None:
    """State, progress over all stages, curves over their tokens, and the time left with what it rests on."""
    me = Process(1, "somebody else", "here")
    folder = places.jobs() / "two"
    stage = tiny_recipe(steps=10).pt
    recipe = tiny_recipe(name="two", pt=stage, cp=stage)
    claim(recipe, folder)
    total = 10 * STEP_TOKENS
    events = [
        JobStarted(at=1.0, device="cpu", pid=1),
        started(steps=10),
        *(step(n, loss=5.0 - n / 10, steps=10) for n in range(1, 11)),
        Evaluated(stage="pt", step=10, loss={"small": 4.0}),
        Checkpointed(stage="pt", step=10, path="x"),
        StageFinished(stage="pt", tokens=total, seconds=1.0),
        Progress(what="tokenizing small"),
        started(stage="cp", steps=10),
        *(step(n, "cp", loss=3.0, rate=64.0, steps=10) for n in range(1, 6)),
    ]
    (folder / EVENTS).write_bytes(b"".join(map(encode, events)))
    record = Record(state="queued", ticket=1, created=1.0, changed=2.0, folder="/", device="cpu", process=me)
    write_record(folder, record)
    view = JobReader(folder).view()
    assert [(s.name, s.share, s.offset) for s in view.stages] == [("pt", 1.0, 0), ("cp", 0.5, total)]
    assert view.share == 0.75
    assert view.loss[0] == (STEP_TOKENS, 4.9)
    assert view.loss[-1] == (total + 5 * STEP_TOKENS, 3.0)
    assert view.held_out == {"small": ((total, 4.0),)}
    assert view.left is not None
    # Half of the second stage, five steps of 64 tokens, at the 64 tokens/s that this stage measured.
    assert view.left.seconds == 5.0
    assert "64 tokens/s" in view.left.basis
    assert "measured" in view.left.basis
    assert (view.problem, view.error) == ("", "")
    assert view.size > 0


def test_stages_to_come_are_counted_as_the_training_will_count_them() -> None:
    """The bar must not jump when a stage begins: whole steps of whole rows, before and after."""
    from fastdraft_core.training.recipe import num_steps, tokens_per_step

    stage = {"tokens": 1000, "sources": {"small": 1.0}, "sequence_length": 24, "batch_tokens": 130}
    recipe = tiny_recipe(name="odd", pt=stage)
    folder = places.jobs() / "odd"
    claim(recipe, folder)
    (view,) = JobReader(folder).view().stages
    assert recipe.pt is not None
    assert view.total_tokens == num_steps(recipe.pt) * tokens_per_step(recipe.pt)


@pytest.mark.parametrize(
    ("state", "wish", "alive", "expected"),
    [
        ("queued", "", False, "queued"),
        ("running", "", True, "running"),
        ("running", "pause", True, "running"),
        ("running", "", False, "lost"),
        ("running", "pause", False, "paused"),
        ("running", "cancel", False, "cancelled"),
        ("failed", "", True, "failed"),
        ("finished", "cancel", False, "finished"),
    ],
)
def test_the_state_follows_from_the_record_and_the_process(state: str, wish: str, alive: bool, expected: str) -> None:
    """What a process wrote down before it vanished, and whether it vanished, is all there is to know."""
    record = Record(state=state, ticket=1, created=0.0, changed=0.0, folder="/", wish=wish)  # type: ignore[arg-type]
    assert job_state(record, alive) == expected


def test_a_folder_without_a_record_tells_what_it_can() -> None:
    """A crash may leave any file missing or damaged; the job is listed, with what is wrong."""
    done = job("done", [started(), step(20), StageFinished(stage="pt", tokens=20 * STEP_TOKENS, seconds=1.0)])
    job("open", [started(), step(3)])
    (job("damaged", [started(), step(5)], state="paused") / "recipe.toml").write_text("name = [")
    (job("blank", [step(2)], state="paused") / "job.json").write_bytes(b"\0\0\0")
    bare = places.jobs() / "bare"
    bare.mkdir()
    (bare / EVENTS).write_bytes(b"\0" * 100)
    (places.jobs() / "notes").mkdir()
    (places.jobs() / "\x1b[31mred").mkdir()
    (places.jobs() / "\x1b[31mred" / EVENTS).touch()
    views = {view.name: view for view in list_jobs()}
    assert set(views) == {"done", "open", "damaged", "blank", "bare"}
    assert (views["done"].state, views["open"].state, views["damaged"].state) == ("finished", "lost", "paused")
    assert "TOML" in views["damaged"].problem
    assert views["damaged"].stages[0].tokens == 5 * STEP_TOKENS
    assert all("job.json" in views[name].problem for name in ("done", "open", "blank", "bare"))
    assert "1 line of events.jsonl" in views["bare"].problem
    assert done.is_dir()


def test_a_vanished_job_says_so_and_a_cut_line_is_no_alarm_while_it_runs() -> None:
    """A lost job offers its resume; half a line at the end is a problem only where nobody writes any more."""
    gone = Process(1 << 22, "never", this_process().host)
    folder = job("gone", [started(), step(3)], state="running", process=gone)
    with (folder / EVENTS).open("ab") as file:
        file.write(b'{"type":"st')
    view = JobReader(folder).view()
    assert view.state == "lost"
    assert view.pid is None
    assert "1 line" in view.problem


def test_the_order_of_the_list() -> None:
    """The queue in its order, then what has ended, the newest first."""
    job("old", [], state="finished", changed=1.0)
    job("new", [], state="failed", changed=9.0, error="Too bad.")
    job("later", [], state="queued", ticket=12)
    job("sooner", [], state="queued", ticket=3)
    assert [view.name for view in list_jobs()] == ["sooner", "later", "new", "old"]


def test_acceptance_before_and_after() -> None:
    """When a job ends, what counts is by how much its draft is accepted, stage by stage."""
    judged = [
        StageAcceptance(stage=name, gamma=3, temperature=0.6, acceptance={"code": rate})
        for name, rate in (("pt", 0.1), ("ft", 0.4))
    ]
    view = JobReader(job("judged", [*judged, JobEnded(at=1.0, state="finished")], state="finished")).view()
    assert {name: event.acceptance["code"] for name, event in view.acceptance.items()} == {"pt": 0.1, "ft": 0.4}
    assert view.left is None


def test_tens_of_thousands_of_steps_are_read_whole_and_drawn_thin() -> None:
    """A long training opens complete, with as many points as a chart has columns."""
    events = [started(steps=40_000), *(step(n, loss=3.0 + (n == 20_123), steps=40_000) for n in range(1, 40_001))]
    view = JobReader(job("long", events, state="finished")).view(points=200)
    assert view.last is not None
    assert view.last.step == 40_000
    assert len(view.loss) <= 200
    assert max(loss for _, loss in view.loss) == 4.0


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=9000))
@settings(max_examples=20)
def test_a_long_curve_keeps_its_ends_and_peaks(heights: list[float]) -> None:
    """What a poll costs must not grow with the training, and no spike may go missing."""
    points = [(float(x), y) for x, y in enumerate(heights)]
    kept = curve_of(points).points()
    assert len(kept) <= 2050
    assert kept == sorted(set(kept))
    assert set(kept) <= set(points)
    assert (kept[0], kept[-1]) == (points[0], points[-1])
    assert {min(heights), max(heights)} <= {y for _, y in kept}


def test_synthesis_is_seen_at_work_and_no_minutes_are_claimed_for_it() -> None:
    """While the target writes, the job says how much, how fast and how long; the training's time leaves that out by name."""
    stage = tiny_recipe(steps=10).pt
    assert stage is not None
    told = tiny_recipe(name="aligned", pt=stage, ft=msgspec.structs.replace(stage, sources={"target": 1.0}),
                       synthesis={"tokens": 620_000, "temperatures": [0.8], "sources": {"small": 1.0}})  # fmt: skip
    folder = places.jobs() / "aligned"
    claim(told, folder)
    events = [
        started(steps=10),
        *(step(n, rate=64.0, steps=10) for n in range(1, 11)),
        StageFinished(stage="pt", tokens=10 * STEP_TOKENS, seconds=1.0),
    ]
    (folder / EVENTS).write_bytes(b"".join(map(encode, events)))
    me = this_process()
    write_record(
        folder, Record(state="running", ticket=1, created=1.0, changed=1.0, folder="/", device="cpu", process=me)
    )
    reader = JobReader(folder)
    left = reader.view().left
    assert left is not None
    assert left.short == ">10 s"
    assert (
        "more than 10 s of training left, not counting what the target writes and the preparation of FT, at 64"
        in str(left)
    )
    with (folder / EVENTS).open("ab") as file:
        file.write(encode(Synthesized(sequences=9, tokens=120_000, total_tokens=620_000, tokens_per_second=700.0)))
    view = reader.view()
    assert view.doing == (
        "the target writes: 120,000 of 620,000 tokens, 700 tokens/s, about 12 min left (modelled from the rate)"
    )
    assert view.aside is not None
    assert view.aside.share == pytest.approx(120 / 620)
    with (folder / EVENTS).open("ab") as file:
        file.write(encode(Scored(tokens=10, total_tokens=40, tokens_per_second=2.0, bytes_per_token=8)))
    assert reader.view().doing.startswith(
        "the target's probabilities are stored: 10 of 40 tokens, 2 tokens/s, about 15 s"
    )
    with (folder / EVENTS).open("ab") as file:
        file.write(encode(started(stage="ft", steps=10)) + encode(step(1, "ft", rate=64.0, steps=10)))
    view = reader.view()
    assert (view.doing, view.aside) == ("", None)
    assert view.left is not None
    assert not view.left.not_counted


def test_a_relative_target_is_found_from_anywhere(tmp_path: Path) -> None:
    """The recipe said ``models/target`` in the folder where the job was made; the app runs elsewhere. Hub ids stay."""
    (tmp_path / "models" / "target").mkdir(parents=True)
    for name, target in (("near", "models/target"), ("hub", "owner/model")):
        claim(msgspec.structs.replace(tiny_recipe(name=name), target=target), places.jobs() / name)
        record = Record(state="paused", ticket=1, created=1.0, changed=1.0, folder=str(tmp_path))
        write_record(places.jobs() / name, record)
    assert {view.name: view.target for view in list_jobs()} == {
        "near": str(tmp_path / "models" / "target"),
        "hub": "owner/model",
    }


def test_a_step_tells_how_the_device_is_used_and_when_it_ends() -> None:
    """`jobs follow` shows what the event knows: utilisation, memory, time left; what is not known is left out."""
    known = replace(step(1, rate=9.0), utilisation=0.5, memory=3_100_000, seconds_left=90.0)
    assert describe(known).endswith("9 tokens/s  50% of matrix peak  3.1 MB  2 min left")
    assert describe(replace(known, utilisation=None, memory=0, seconds_left=None)).endswith("9 tokens/s")
