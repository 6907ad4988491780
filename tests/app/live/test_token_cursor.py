"""A cursor over tokens, tokens that come and go, and text that is selected: all over broken lines."""

from __future__ import annotations

from copy import deepcopy

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual.app import App, ComposeResult
from textual.geometry import Offset
from textual.selection import Selection

from fastdraft_app.live.replay import Piece, Place
from fastdraft_app.live.token_layout import Layout, TextPosition, index_of, moved, picked
from fastdraft_app.live.token_view import TokenView

TOKENS = st.lists(st.text(alphabet="ab  \n\t日é🙂", max_size=7), max_size=40)


def laid_out(width: int, texts: list[str], *, step: int = 0) -> Layout:
    """These tokens, a position each."""
    layout = Layout(width)
    for index, text in enumerate(texts):
        layout.add(Piece(text, "accepted", step, index))
    return layout


@given(TOKENS, st.integers(4, 12))
def test_all_of_it_selected_is_the_text_itself(texts: list[str], width: int) -> None:
    """Lines broken for the screen do not break what is copied; only tabs become the spaces that they show."""
    layout = laid_out(width, [text.replace("\t", "") for text in texts])
    copied = layout.text_between(TextPosition(0, 0), TextPosition(len(layout.lines) - 1, None))
    assert copied == "".join(text.replace("\t", "") for text in texts)


@given(TOKENS, TOKENS, st.integers(4, 12))
def test_going_back_to_a_mark_undoes_every_addition(before: list[str], after: list[str], width: int) -> None:
    """Pending tokens leave no trace in lines, indents or pieces."""
    layout = laid_out(width, before)
    mark, expected = layout.mark(), deepcopy(layout)
    for text in after:
        layout.add(Piece(text, "pending", 1, 0))
    layout.restore(mark)
    assert (layout.lines, layout.pieces) == (expected.lines, expected.pieces)


@given(TOKENS, st.integers(4, 12))
def test_every_token_is_found_where_it_shows(texts: list[str], width: int) -> None:
    """The lines said to show a token are the first to the last that do; a line end is at the line that it ends."""
    layout = laid_out(width, texts)
    for index in range(len(texts)):
        rows = [row for row, line in enumerate(layout.lines) if line.column(index) is not None]
        found = layout.lines_of(index)
        assert len(found) >= 1
        if rows:
            assert (found.start, found.stop) == (rows[0], rows[-1] + 1)
        else:
            assert 0 <= found.start < len(layout.lines)


@given(TOKENS.filter(bool), st.integers(4, 12), st.sampled_from(["left", "right"]))
def test_left_and_right_visit_every_token_once(texts: list[str], width: int, way: str) -> None:
    """No token is skipped, shown or not, and the ends hold."""
    layout = laid_out(width, texts)
    last = Place(0, len(texts) - 1)
    place = Place(0, 0) if way == "right" else last
    visited = [place]
    for _ in texts:
        following = moved(layout, place, way, 5)
        assert following is not None
        place = following
        visited.append(place)
    expected = [Place(0, n) for n in range(len(texts))]
    assert visited[:-1] == (expected if way == "right" else expected[::-1])
    assert visited[-1] == visited[-2]


@given(TOKENS.filter(bool), st.integers(4, 12), st.sampled_from(["up", "down", "page_up", "page_down"]), st.data())
def test_lines_are_left_in_the_right_direction(texts: list[str], width: int, way: str, data: st.DataObject) -> None:
    """Up never leads down, and from anywhere enough of it leads to where there is no further."""
    layout = laid_out(width, texts)
    place = Place(0, data.draw(st.integers(0, len(texts) - 1)))
    for _ in range(len(layout.lines) + 1):
        before, following = place, moved(layout, place, way, 3)
        assert following is not None
        place = following
        assert (place <= before) if way.endswith("up") else (place >= before)
    assert moved(layout, place, way, 3) == place


def test_the_prompt_is_not_a_token_to_inspect() -> None:
    """The cursor and the mouse stop at the first token of the run."""
    layout = Layout(20)
    layout.add(Piece("the prompt ", "prompt", -1, 0))
    assert moved(layout, Place(0, 0), "stay", 5) is None
    layout.add(Piece("one", "plain", 0, 0))
    layout.add(Piece(" two", "accepted", 1, 0))
    assert moved(layout, Place(1, 0), "home", 5) == Place(0, 0)
    assert moved(layout, Place(0, 0), "up", 5) == Place(0, 0)
    assert picked(layout, 0, 3) is None
    assert picked(layout, 0, 12) == Place(0, 0)
    assert picked(layout, 0, 19) == Place(1, 0)
    assert picked(layout, 7, 0) is None


def test_a_token_that_is_not_shown_counts_as_before_the_next() -> None:
    """A rejected token that the clean view hides: left is what stands before it, right what stands after it."""
    layout = laid_out(20, ["a", "b"], step=1)
    layout.add(Piece("c", "corrected", 2, 4))
    hidden = Place(2, 1)
    assert index_of(layout, hidden) is None
    assert moved(layout, hidden, "left", 5) == Place(1, 1)
    assert moved(layout, hidden, "right", 5) == moved(layout, hidden, "stay", 5) == Place(2, 4)


# --- the view --------------------------------------------------------------------------------------


class PaneApp(App[None]):
    """A token view alone."""

    def compose(self) -> ComposeResult:
        yield TokenView(id="view")

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return {"muted": "#98a1ae"}


def reversed_text(view: TokenView) -> str:
    """What the visible part shows as inspected."""
    rows = (view.render_line(y) for y in range(view.size.height))
    return "".join(segment.text for row in rows for segment in row if segment.style and segment.style.reverse)


def write(view: TokenView, *texts: str) -> None:
    """Tokens of one step."""
    view.write(Piece(text, "accepted", 0, index) for index, text in enumerate(texts))
    view.flush()


async def test_the_inspected_token_is_marked_and_in_sight() -> None:
    """Whole, also over two lines; a line end too; and it stays in sight when the pane is resized."""
    app = PaneApp()
    async with app.run_test(size=(12, 8)) as pilot:
        view = app.query_one(TokenView)
        write(view, *(f"line {n}\n" for n in range(40)), "x", "\n", "unbreakable" * 3)
        for position, expected in ((3, "line 3"), (41, "⏎"), (42, "unbreakable" * 3)):
            view.inspect(Place(0, position))
            await pilot.pause()
            assert reversed_text(view) == expected
        view.inspect(Place(0, 20))
        await pilot.resize_terminal(9, 5)
        await pilot.pause()
        assert reversed_text(view) == "line 20"
        view.inspect(None)
        assert reversed_text(view) == ""


async def test_pending_tokens_are_replaced_by_what_becomes_of_them() -> None:
    """They show after everything else, give way to the verdict, and survive a new width."""
    app = PaneApp()
    async with app.run_test(size=(20, 6)) as pilot:
        view = app.query_one(TokenView)
        write(view, "one ")
        pending = [Piece("two", "pending", 1, 0), Piece("\nthree", "pending", 1, 1)]
        view.show_tail(pending[:1])
        view.flush()
        assert view.text == "one two"
        view.show_tail(pending)
        view.flush()
        assert view.text == "one two⏎three"
        await pilot.resize_terminal(12, 6)
        await pilot.pause()
        assert view.text.replace("\n", "") == "one two⏎three"
        view.write([Piece("two", "accepted", 1, 0), Piece("!", "bonus", 1, 2)])
        view.show_tail([])
        view.flush()
        assert view.text == "one two!"
        assert [piece.kind for piece in view.pieces] == ["accepted", "accepted", "bonus"]


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        ((0, 0), (3, 0), "one"),
        ((4, 0), (2, 1), "two th"),
        ((None, None), (None, None), "one two three\n  four"),
    ],
)
async def test_a_selection_is_copied_unbroken(start: tuple[int, int], end: tuple[int, int], expected: str) -> None:
    """What was one line in the text is one line in the clipboard."""
    app = PaneApp()
    async with app.run_test(size=(9, 6)):
        view = app.query_one(TokenView)
        write(view, "one", " two", " three\n", "  four")
        assert view.text.split("\n")[:2] == ["one two ", "three"]
        whole = start[0] is None
        selection = Selection(None, None) if whole else Selection(Offset(*start), Offset(*end))
        assert view.get_selection(selection) == (expected, "\n")


async def test_the_mouse_selects_and_shows_what_it_selected() -> None:
    """Drag over the text: it is selected, and a plain click drops the selection again."""
    app = PaneApp()
    async with app.run_test(size=(30, 6)) as pilot:
        view = app.query_one(TokenView)
        write(view, "first", " second", " third")
        await pilot.pause()
        await pilot.mouse_down(view, offset=(6, 0))
        await pilot.hover(view, offset=(11, 0))
        await pilot.mouse_up(view, offset=(11, 0))
        assert app.screen.get_selected_text() == "second"
        selected = app.screen.get_component_rich_style("screen--selection")
        shown = "".join(s.text for s in view.render_line(0) if s.style and s.style.bgcolor == selected.bgcolor)
        assert shown == "second"
        await pilot.click(view, offset=(2, 0))
        assert not app.screen.get_selected_text()
