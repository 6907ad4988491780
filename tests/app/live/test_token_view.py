"""The token pane shows any text as it is, in the room there is."""

from __future__ import annotations

import pytest
from rich.cells import cell_len
from textual.app import App, ComposeResult

from fastdraft_app.live.replay import Piece
from fastdraft_app.live.token_layout import Layout
from fastdraft_app.live.token_view import TokenView
from fastdraft_app.theme.themes import DARK
from fastdraft_core.token_states import token_style


def laid_out(width: int, *texts: str) -> Layout:
    """A layout of these tokens."""
    layout = Layout(width)
    for index, text in enumerate(texts):
        layout.add(Piece(text, "accepted", index, 0))
    return layout


def lines(width: int, *texts: str) -> list[str]:
    """The lines of these tokens."""
    return [line.text for line in laid_out(width, *texts).lines]


def test_words_stay_whole_across_tokens() -> None:
    """A word made of several tokens is not torn apart at the edge, and no letter or space is lost."""
    assert lines(10, "one", " tw", "o thr", "ee") == ["one two ", "three"]
    assert lines(7, "put the", " stack", "") == ["put the", "stack"]


def test_continued_lines_keep_their_indent() -> None:
    """Wrapped code stays under its own indent."""
    assert lines(16, "    return self.items") == ["    return ", "    self.items"]


def test_long_words_are_cut_at_the_edge() -> None:
    """A line without any space never leaves the pane."""
    assert lines(5, "abcdefgh") == ["abcde", "fgh"]
    assert all(cell_len(line) <= 40 for line in lines(40, "x" * 5000))


@pytest.mark.parametrize(
    "text", ["日本語のテキスト", "a日b本c語", "🙂🙂🙂🙂", "👍🏽👍🏽👍🏽", "🇩🇪🇫🇷🇯🇵", "e\u0301" * 20]
)
@pytest.mark.parametrize("width", [5, 6, 9])
def test_wide_and_combining_characters_fit(text: str, width: int) -> None:
    """Wide characters do not push the frame, and the layout's width is the terminal's width."""
    layout = laid_out(width, *text)
    assert "".join(line.text for line in layout.lines) == text
    for line in layout.lines:
        assert line.width == cell_len(line.text) <= width


def test_a_lone_combining_mark_is_visible() -> None:
    """An accent with nothing to sit on takes a cell of its own instead of vanishing."""
    assert lines(5, "\u0301") == ["◌\u0301"]


def test_tabs_go_to_the_next_stop() -> None:
    """Tabs take the room that a terminal would give them."""
    assert lines(20, "a\tb\n\tc") == ["a   b", "    c"]


def test_every_span_knows_its_token() -> None:
    """The inspector can find the token under the cursor."""
    layout = laid_out(20, "ab", "cd\n", "ef")
    assert [(span.text, span.piece) for line in layout.lines for span in line.spans()] == [
        ("ab", 0),
        ("cd", 1),
        ("ef", 2),
    ]


def test_only_the_open_line_changes() -> None:
    """Appending costs the same on the first and on the millionth character."""
    layout = laid_out(20, *("word " for _ in range(2000)))
    assert layout.add(Piece("x", "plain", 0, 0)) >= len(layout.lines) - 2


class PaneApp(App[None]):
    """A token view alone."""

    def compose(self) -> ComposeResult:
        yield TokenView(id="view")

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return {"muted": "#98a1ae"}


def write(view: TokenView, *texts: str, kind: str = "accepted") -> None:
    """Show tokens of one kind."""
    view.write(Piece(text, kind, 0, 0) for text in texts)
    view.flush()


@pytest.mark.parametrize("text", ["[/INST]", "[INST] hi", "[red]x[/red]", "[@click=app.quit]x[/]", "\\[bold]"])
async def test_markup_like_text_is_shown_as_it_is(text: str) -> None:
    """Text that looks like Textual's markup neither raises nor disappears nor colours anything."""
    app = PaneApp()
    async with app.run_test(size=(40, 10)) as pilot:
        view = app.query_one(TokenView)
        write(view, text)
        await pilot.pause()
        assert view.render_line(0).text.rstrip() == text


async def test_control_characters_never_reach_the_terminal() -> None:
    """A token that holds a clear-screen sequence is shown as pictures."""
    app = PaneApp()
    async with app.run_test(size=(40, 10)):
        view = app.query_one(TokenView)
        write(view, "a\x1b[2Jb\x9bc\u202ed\r")
        assert view.text == "a␛[2Jb‹9B›c‹202E›d␍"


async def test_states_have_their_look() -> None:
    """Each token carries colour and attribute of its state in the pane."""
    app = PaneApp()
    app.register_theme(DARK)
    app.theme = DARK.name
    async with app.run_test(size=(60, 10)):
        view = app.query_one(TokenView)
        kinds = ("accepted", "rejected", "discarded", "corrected", "bonus")
        for kind in kinds:
            write(view, f"{kind} ", kind=kind)
        shown = {segment.text.strip(): segment.style for segment in view.render_line(0) if segment.text.strip()}
        for kind in kinds:
            expected = token_style(kind, "dark")
            assert shown[kind].color == expected.color
            assert (shown[kind].bold, shown[kind].underline, shown[kind].strike) == (
                expected.bold, expected.underline, expected.strike,
            )  # fmt: skip


async def test_thrown_away_line_ends_do_not_break_the_line() -> None:
    """In the history a rejected newline is a sign on the line, not a new line."""
    app = PaneApp()
    async with app.run_test(size=(40, 10)):
        view = app.query_one(TokenView)
        write(view, "a\n\t", kind="rejected")
        assert view.text == "a⏎→"


async def test_follows_the_end_only_while_there() -> None:
    """Whoever scrolled up to read is not thrown back to the end by new tokens."""
    app = PaneApp()
    async with app.run_test(size=(40, 10)) as pilot:
        view = app.query_one(TokenView)
        write(view, *(f"line {n}\n" for n in range(50)))
        await pilot.pause()
        assert view.is_vertical_scroll_end
        view.scroll_to(y=5, animate=False)
        write(view, *(f"more {n}\n" for n in range(50)))
        await pilot.pause()
        assert view.scroll_y == 5
        view.scroll_end(animate=False)
        await pilot.pause()
        write(view, "last\nline\n")
        await pilot.pause()
        assert view.is_vertical_scroll_end


async def test_resize_breaks_the_lines_anew() -> None:
    """After the terminal was resized no text is cut or lost, and the end stays in sight."""
    app = PaneApp()
    async with app.run_test(size=(60, 10)) as pilot:
        view = app.query_one(TokenView)
        write(view, *(f"word{n} " for n in range(200)))
        await pilot.resize_terminal(30, 6)
        await pilot.pause()
        assert max(cell_len(line) for line in view.text.splitlines()) <= 29
        assert view.text.split() == [f"word{n}" for n in range(200)]
        assert view.is_vertical_scroll_end
