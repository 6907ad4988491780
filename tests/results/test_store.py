"""Results on disk: written line by line, read again, found by name, and refused when they are another version's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from fastdraft_core.errors import FastdraftError
from fastdraft_core.events import RepeatDropped, SweepProgress, encode
from fastdraft_core.results import store
from tests.bench.points import measured, plan, predicted


def keep(name: str = "20250101-120000-table", *events: object) -> Path:
    """A result of that name with these events after its plan; its file."""
    write = store.writer(name)
    write(plan(name=name))
    for event in events:
        write(event)  # type: ignore[arg-type]
    return store.folder(name) / "events.jsonl"


def test_the_last_measurement_of_a_point_counts() -> None:
    """Every repeat writes a line; progress is for whoever watches and is not kept."""
    first, last = measured(speedup=1.4, repeats=2), measured(speedup=1.5, repeats=3)
    dropped = RepeatDropped(task="code", temperature=0.0, reason="noise")
    path = keep("r", predicted(), first, SweepProgress(what="x", done=0, total=1, seconds=0.0, eta=None), dropped, last)
    found = store.read("r")
    assert list(found.measured.values()) == [last]
    assert list(found.predicted.values()) == [predicted()]
    assert found.dropped == [dropped]
    assert found.verdict is None
    assert path.read_bytes().count(b"\n") == 5


def test_half_a_line_of_a_killed_sweep_is_forgotten() -> None:
    """kill -9 while a line is written loses that line only, and going on writes after the last whole one."""
    path = keep("r", measured(gamma=1))
    path.write_bytes(path.read_bytes() + encode(measured(gamma=2))[:50])
    assert [p.gamma for p in store.read("r").measured.values()] == [1]
    store.writer("r")(measured(gamma=4))
    assert [p.gamma for p in store.read("r").measured.values()] == [1, 4]


def test_two_sweeps_do_not_write_one_result() -> None:
    """Going on with a result from two terminals would mix their lines; the second is told, and may go on later."""
    write = store.writer("r")
    write(plan(name="r"))
    code = (
        "import sys; from fastdraft_core.results import store; from fastdraft_core.errors import FastdraftError\n"
        "try: store.writer('r')\n"
        "except FastdraftError as error: print(error.message)\n"
        "else: print('free')"
    )

    def other() -> str:
        return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert "Another process is writing the result r" in other()
    assert store.read("r").plan.name == "r", "reading needs no lock"
    del write
    assert other() == "free\n"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows limits no file's size")
def test_a_full_disk_is_told_and_what_was_written_can_go_on() -> None:
    """The disk takes half a line: one sentence, and the result is neither damaged nor lost."""
    code = (
        "import resource, signal\n"
        "from fastdraft_core.errors import FastdraftError\n"
        "from fastdraft_core.results import store\n"
        "from tests.bench.points import measured, plan\n"
        "write = store.writer('r')\n"
        "write(plan(name='r'))\n"
        "size = (store.folder('r') / 'events.jsonl').stat().st_size\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (size + 50, resource.RLIM_INFINITY))\n"
        "try: write(measured())\n"
        "except FastdraftError as error: print(error.message)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "The result r cannot be written" in done.stdout
    assert "--resume r" in done.stdout
    assert store.read("r").measured == {}
    store.writer("r")(measured(gamma=4))
    assert [p.gamma for p in store.read("r").measured.values()] == [4]


def test_damage_is_named_with_its_line() -> None:
    """A line that is no event is not skipped in silence."""
    path = keep("r", measured())
    path.write_bytes(path.read_bytes() + b"{}\n")
    with pytest.raises(FastdraftError, match=r"events.jsonl, line 3 is damaged"):
        store.read("r")
    path.write_bytes(encode(plan(name="r")) + encode(measured()).replace(b'"task":"', b'"task":"\xff'))
    with pytest.raises(FastdraftError, match=r"events.jsonl, line 2 is damaged"):
        store.read("r")
    path.write_bytes(encode(plan(name="r")).replace(b'"schema":"', b'"schema":"\xff'))
    with pytest.raises(FastdraftError, match="has the schema"):
        store.read("r")
    path.write_bytes(encode(measured()))
    with pytest.raises(FastdraftError, match="does not begin with the plan"):
        store.read("r")
    path.write_bytes(b"")
    with pytest.raises(FastdraftError, match="is empty"):
        store.read("r")


@pytest.mark.parametrize("change", [{}, {"target": None}])
def test_another_schema_is_refused_by_name(change: dict[str, object]) -> None:
    """Also where its fields are others altogether: a newer file is no damaged one."""
    plain = msgspec.to_builtins(plan()) | {"schema": "fastdraft.sweep/99"} | change
    line = msgspec.json.encode({key: value for key, value in plain.items() if value is not None})
    with pytest.raises(FastdraftError, match=r"'fastdraft.sweep/99' and this fastdraft reads 'fastdraft.sweep/1'"):
        store.parse([line], "somewhere")


def test_results_are_found_by_name_beginning_or_last() -> None:
    """And never a wrong one: what is unclear is refused."""
    with pytest.raises(FastdraftError, match="no results yet"):
        store.find("last")
    for name in ("20250101-120000-a", "20250101-130000-b", "20250202-120000-a"):
        keep(name)
    assert store.names() == ["20250101-120000-a", "20250101-130000-b", "20250202-120000-a"]
    assert store.find("last") == "20250202-120000-a"
    assert store.find("202502") == "20250202-120000-a"
    assert store.find("20250101-130000-b") == "20250101-130000-b"
    with pytest.raises(FastdraftError, match="2 results begin with '202501'"):
        store.find("202501")
    with pytest.raises(FastdraftError, match="no result '1999'"):
        store.find("1999")


@pytest.mark.parametrize("target", ["demo", "owner/Model-1.5", "/a/b c/", "..", "ü/", ""])
def test_names_are_safe_folders(target: str) -> None:
    """Whatever the target is called, its result lies in one folder of its own inside the results."""
    name = store.new_name(target)
    assert Path(name).name == name
    assert store.folder(name).parent == store.folder("x").parent
    keep(name)
    assert store.new_name(target) != name


def test_reading_results_loads_no_model_library() -> None:
    """The app reads, compares and exports results, and it must not load torch for that."""
    code = (
        "import sys; import fastdraft_core.results.store, fastdraft_core.results.compare; "
        "import fastdraft_core.results.export, fastdraft_core.results.charts; "
        "print([m for m in ('torch', 'transformers', 'numpy', 'openvino', 'datasets', 'matplotlib') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
