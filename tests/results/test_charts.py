"""Charts as files: what was measured told apart, every name as it is, the same picture from the same result."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import msgspec
import pytest
from PIL import Image

from fastdraft_core.results import charts
from fastdraft_core.results.panels import Chart, Mark, Panel, Series, figures
from fastdraft_core.results.store import Result
from tests.bench.points import measured, predicted, result

SVG = "{http://www.w3.org/2000/svg}"
NAMES = {"speedup", "acceptance", "tau", "bandwidth", "size"}


@pytest.fixture
def found() -> Result:
    """Two drafts on two tasks: three points measured, all predicted."""
    return result(
        measured("S", 2, "code", 1.5),
        measured("M", 4, "code", 1.9, reach=1.1),
        measured("M", 4, "text", 1.4),
        *(predicted(d, g, t, 1.23) for d in "SM" for g in (1, 2, 4) for t in ("code", "text")),
    )


@pytest.fixture
def drawing() -> Iterator[None]:
    """Matplotlib as the charts have it."""
    with charts.drawing():
        yield


def drawn(of: Result, form: str = "svg") -> dict[str, bytes]:
    return charts.draw(figures(of), of.plan.name, form)


def words(picture: bytes) -> list[str]:
    """All text of an SVG."""
    return ["".join(text.itertext()) for text in ET.fromstring(picture).iter(f"{SVG}text")]


def test_every_figure_is_a_picture_with_its_words(found: Result) -> None:
    """Title, the result's name, the panels and every draft can be read, and searched for, in each."""
    pictures = drawn(found)
    assert set(pictures) == {f"{name}.svg" for name in NAMES}
    for picture in pictures.values():
        assert {found.plan.name, "code, T 0", "text, T 0", "M", "S"} <= set(words(picture))
    assert "Speed-up against gamma" in words(pictures["speedup.svg"])
    assert words(pictures["speedup.svg"]).count("autoregressive") == 2
    assert "measured peak of the machine" in words(pictures["bandwidth.svg"])
    assert {"gamma 2", "gamma 4"} <= set(words(pictures["size.svg"]))


@pytest.mark.usefixtures("drawing")
def test_what_was_measured_is_told_apart(found: Result) -> None:
    """Predicted lines are dashed and have no shapes; measured points have their draft's shape, and their interval."""
    code, text = charts.figure(figures(found)["speedup"], "").axes
    shapes = [line.get_marker() for line in code.lines if line.get_marker() in list(charts.SHAPES)]
    assert sorted(shapes) == ["o", "s"], "S and M"
    for axes in (code, text):
        dashed = [line for line in axes.lines if line.is_dashed()]
        assert [len(line.get_xdata()) for line in dashed] == [3, 3]  # type: ignore[arg-type]
        assert {line.get_marker() for line in dashed} == {"None"}
    assert [1.9 / 1.1, 1.9 * 1.1] in [list(line.get_ydata()) for line in code.lines]  # type: ignore[arg-type]


def test_a_png_is_crisp_and_white(found: Result) -> None:
    """Twice the dots of a usual screen, so that it stays sharp; a page's own colour does not shine through."""
    pictures = drawn(found, "png")
    assert set(pictures) == {f"{name}.png" for name in NAMES}
    picture = Image.open(io.BytesIO(pictures["speedup.png"])).convert("RGBA")
    assert picture.width > 1500
    assert picture.getpixel((0, 0)) == (255, 255, 255, 255)
    assert picture.getcolors() is None, "more than a ground"


def test_charts_of_a_result_without_points() -> None:
    """An interrupted sweep has no picture rather than an empty one; one gamma alone is a picture."""
    assert drawn(result()) == {}
    assert set(drawn(result(predicted(gamma=1), gammas=(1,)))) == {"speedup.svg", "acceptance.svg", "tau.svg"}


@pytest.mark.parametrize("name", ["$x_1$", "_hidden", "a\\b{c}^2 & 50 %", "<script>\"'", "$", "模型", ""])
def test_names_stand_as_they_are(name: str, recwarn: pytest.WarningsRecorder) -> None:
    """Nothing in a name is a formula, markup, or a reason to leave it out."""
    of = result(measured(name), predicted(name), drafts=(name, "other"))
    for picture in drawn(of).values():
        assert name in words(picture) or not name
    assert len(drawn(of, "png")) == 5
    # Of others, such as what earlier tests left unclosed, nothing is said here.
    assert not [warning for warning in recwarn if "matplotlib" in warning.filename]


def test_control_characters_become_signs() -> None:
    """They are not allowed in an SVG, and a line break would cut a name."""
    name = "x\x1b[31m\ny\udc80"
    sign = "\N{REPLACEMENT CHARACTER}"
    for picture in drawn(result(measured(name), drafts=(name,))).values():
        assert f"x{sign}[31m{sign}y{sign}" in words(picture)


@pytest.mark.usefixtures("drawing")
@pytest.mark.parametrize("panels", [1, 2, 4])
def test_long_names_stay_in_the_picture(panels: int) -> None:
    """Titles, tasks and drafts of any length are wrapped, and make the picture no wider."""
    drafts = tuple(f"/home/somebody/models/a-long-name-of-a-draft-model-{n}-trained-for-three-weeks" for n in range(3))
    tasks = tuple(f"{n}_a_prompt_file_of_a_name_that_is_longer_than_a_chart_is_wide" for n in range(panels))
    of = result(*(measured(draft, task=task) for draft in drafts for task in tasks), drafts=drafts, tasks=tasks)
    for chart in figures(of).values():
        made = charts.figure(chart, "20260102-030405-" + "a-target-of-a-long-name" * 2)
        made.draw_without_rendering()
        box = made.get_tightbbox()
        assert box.x0 > -0.1
        assert box.x1 < made.get_figwidth() + 0.1
        assert box.y0 > -0.1
        assert box.y1 < made.get_figheight() + 0.1


@pytest.mark.usefixtures("drawing")
def test_words_beside_marks_do_not_overlap() -> None:
    """Drafts of nearly one size and one speed-up: each gamma can be read."""
    series = [
        Series(name, number, [Mark(size, speedup, speedup * 0.97, speedup * 1.03, f"gamma {number}")])
        for number, (name, size, speedup) in enumerate([("a", 10.0, 1.5), ("b", 10.3, 1.51), ("c", 3.0, 1.02)])
    ]
    panel = Panel("code, T 0", "million parameters", "times autoregressive", series, (1.0, "autoregressive"))
    made = charts.figure(Chart("by size", [panel]), "name")
    made.draw_without_rendering()
    boxes = [words.get_window_extent() for words in made.axes[0].texts]
    assert len(boxes) == 4
    assert not [pair for pair in combinations(boxes, 2) if pair[0].overlaps(pair[1])]


def test_the_same_result_makes_the_same_file_wherever_it_is_drawn(found: Result, tmp_path: Path) -> None:
    """No date, no settings of somebody's own; fonts are remembered in our cache, and nothing is said."""
    home, here = tmp_path / "elsewhere", tmp_path / "here"
    (home / ".config" / "matplotlib").mkdir(parents=True)
    here.mkdir()
    (home / ".config" / "matplotlib" / "matplotlibrc").write_text("lines.linewidth: 9\n")
    (here / "matplotlibrc").write_text("font.size: 30\nsvg.fonttype: path\nno.such.setting: 1\n")
    (here / "result.jsonl").write_bytes(b"".join(msgspec.json.encode(event) + b"\n" for event in kept(found)))
    code = (
        "import sys; from pathlib import Path; from fastdraft_core.results import charts, panels, store;"
        "r = store.parse(Path('result.jsonl').read_bytes().split(b'\\n')[:-1], 'here');"
        "sys.stdout.buffer.write(charts.draw(panels.figures(r), r.plan.name, 'svg')['speedup.svg'])"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MPL", "XDG"))}
    environment |= {"HOME": str(home), "FASTDRAFT_HOME": str(tmp_path / "fastdraft")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, cwd=here, env=environment)
    assert done.stdout == drawn(found)["speedup.svg"]
    assert done.stderr == b""
    assert list((tmp_path / "fastdraft" / "cache" / "matplotlib").iterdir())
    assert [path.name for path in home.rglob("*matplotlib*")] == ["matplotlib", "matplotlibrc"]


def kept(of: Result) -> Iterator[object]:
    yield of.plan
    yield from of.predicted.values()
    yield from of.measured.values()


def test_settings_of_others_in_this_process_stay(found: Result) -> None:
    """Whoever uses the library beside charts of their own keeps their look."""
    drawn(found)
    import matplotlib

    with matplotlib.rc_context({"lines.linewidth": 7, "svg.fonttype": "path"}):
        drawn(found)
        assert (matplotlib.rcParams["lines.linewidth"], matplotlib.rcParams["svg.fonttype"]) == (7, "path")
