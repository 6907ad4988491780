"""This machine: what it does at the moment, and everything that ``fastdraft doctor`` tells."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby
from time import monotonic
from typing import ClassVar

from textual import events, on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.screen import Screen
from textual.timer import Timer
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option
from textual.worker import get_current_worker

from fastdraft_app.client.doctor import Doctor
from fastdraft_app.client.engine import EngineClient
from fastdraft_app.client.meters import Meters
from fastdraft_app.dialogs.exporting import save
from fastdraft_app.settings.preferences import Preferences
from fastdraft_app.system.check_rows import check_row, check_words, count_words, name_width
from fastdraft_app.system.export_report import EXPORTED, as_text, export_report
from fastdraft_app.system.machine import Reading, age, disturbance, gravest, merged
from fastdraft_app.system.meter_rows import short_rows, tall_rows
from fastdraft_app.terminal.copying import copy
from fastdraft_app.theme.palette import marks
from fastdraft_app.widgets.banner import Banner
from fastdraft_app.widgets.figure_rows import FigureRows
from fastdraft_app.widgets.key_bar import KeyBar
from fastdraft_app.widgets.line import TextLine
from fastdraft_app.widgets.row_list import RowList
from fastdraft_core import places
from fastdraft_core.events import Check
from fastdraft_core.formatting import one_line

POLL_SECONDS = 1.0
"""Between two looks at what the machine does."""

NO_REPORT = "There is no report yet. Press r to run the checks."
WAITING = "They load torch and measure the memory, which would\ndisturb it. They begin by themselves when it has ended."
ASKING = "Asking `fastdraft doctor` what this machine has; the devices take some seconds."


class SystemScreen(Screen[None]):
    """Meters, the checks, and all about the highlighted one.

    The checks load torch and measure the memory, so they run only while this screen is shown and nothing is timed.
    """

    CSS_PATH = "system.tcss"
    AUTO_FOCUS = "#checks"
    HORIZONTAL_BREAKPOINTS = [(0, "-slim"), (120, "-wide")]
    VERTICAL_BREAKPOINTS = [(0, "-short"), (20, "-normal")]
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("r", "check", "check again", id="system.check", tooltip="run all checks again"),
        Binding("y", "copy", "copy", id="system.copy", tooltip="copy the report as text"),
        Binding("e", "export", "export", id="system.export", tooltip="write the report to a file: text, JSON"),
        Binding("j", "move('down')", "down", id="system.down", show=False, tooltip="next check"),
        Binding("k", "move('up')", "up", id="system.up", show=False, tooltip="check before"),
    ]  # fmt: skip

    @dataclass
    class Measured(Message):
        """What the machine does now."""

        reading: Reading

    def __init__(self, engine: EngineClient, timed: Callable[[], str], preferences: Preferences) -> None:
        """``timed`` says what is being timed at the moment and must not be disturbed; nothing where nothing is."""
        super().__init__()
        self.checks: list[Check] = []
        """What is on screen, a look before included where this one has not come so far."""
        self._engine = engine
        self._timed = timed
        self._preferences = preferences
        self._ascii = preferences.current.ascii
        self._marks = marks(self._ascii)
        self._doctor = Doctor()
        self._meters = Meters()
        self._reading = Reading()
        self._readings = 0
        """Since the checks ended."""
        self._before: list[Check] = []
        self._checking, self._polling = False, False
        self._wanted = True
        self._checked: float | None = None
        self._clock: Timer | None = None

    def compose(self) -> ComposeResult:
        """Title, checks, meters, words, keys."""
        yield TextLine(id="title")
        yield Banner(id="banner")
        with Container(id="both"):
            yield RowList(id="checks", markup=False)
            with Container(id="now"):
                yield FigureRows(id="meters")
            with VerticalScroll(id="about"):
                yield Static(id="words", markup=False)
        yield KeyBar(ascii_only=self._ascii, id="keys")

    def on_mount(self) -> None:
        """Begin to look."""
        self.query_one("#now").border_title = "now"
        self._clock = self.set_interval(POLL_SECONDS, self._beat)

    # --- the clock ----------------------------------------------------------------------------

    def _beat(self) -> None:
        if not self._polling:
            self._polling = True
            self._read()
        self._begin()

    @on(events.ScreenSuspend)
    def _sleep(self) -> None:
        if self._clock is not None:
            self._clock.pause()
        if self.app.current_mode != "system":
            self._leave()

    def _leave(self) -> None:
        """Another screen may time something next, which a dialog over this one does not."""
        # What was seen until now will not have been the last two minutes.
        self._meters = Meters()
        if self._checking:
            self._wanted = True
            self.workers.cancel_group(self, "checks")

    @on(events.ScreenResume)
    def _wake(self) -> None:
        if self._clock is not None:
            self._clock.resume()
            self._beat()

    @work(thread=True, group="meters", exit_on_error=False)
    def _read(self) -> None:
        try:
            reading = self._meters.read(self._engine.pid)
        finally:
            self._polling = False
        if not get_current_worker().is_cancelled:
            self.post_message(self.Measured(reading))

    @on(Measured)
    def _take(self, event: Measured) -> None:
        self._reading = event.reading
        self._readings = 0 if self._checking else self._readings + 1
        self._draw_meters()

    # --- the checks ---------------------------------------------------------------------------

    def action_check(self) -> None:
        """Run the checks again, as soon as nothing is timed."""
        if self._checking:
            self.notify("The checks are under way.")
            return
        self._wanted = True
        if timed := self._timed():
            self.notify(f"{timed.capitalize()}, which the checks would disturb; they begin when that has ended.")
        self._begin()

    def _begin(self) -> None:
        if self._wanted and not self._checking and not self._timed():
            self._wanted, self._checking = False, True
            self._look()
        self._draw_title()

    @work(exclusive=True, group="checks", exit_on_error=False)
    async def _look(self) -> None:
        self._before, self._doctor.found = self.checks, []
        self.query_one(Banner).show("")
        self._draw()
        try:
            why = await self._doctor.look(self._draw)
            problem = f"The checks broke off: {why}" if why else ""
        except OSError as error:
            problem = f"The checks could not be started ({error.strerror or error})."
        finally:
            self._checking = False
        if problem:
            self.query_one(Banner).show(f"{problem} Press r to run them again. Log: {places.log_file('fastdraft')}")
        else:
            self._before, self._checked = [], monotonic()
        self._draw()
        if not problem:
            self._show_gravest()

    def _show_gravest(self) -> None:
        """Highlight what most needs a look, unless something was highlighted by hand."""
        found = gravest(self.checks)
        if found is not None and self.chosen is self.checks[0]:
            self._highlight(found.name)

    def _highlight(self, name: str) -> None:
        listed = self.query_one("#checks", OptionList)
        listed.highlighted = listed.get_option_index(name)
        self.call_after_refresh(self._scroll)

    def _scroll(self) -> None:
        """Show the highlighted row, now that rows and panes are laid out; until then the list had another height."""
        listed = self.query_one("#checks", OptionList)
        listed.scroll_home(animate=False, immediate=True)
        listed.scroll_to_highlight()

    @property
    def chosen(self) -> Check | None:
        """The highlighted check."""
        option = self.query_one("#checks", OptionList).highlighted_option
        return next((check for check in self.checks if option is not None and check.name == option.id), None)

    # --- drawing ------------------------------------------------------------------------------

    def _draw(self) -> None:
        """Show the checks that have come, in place of those of the look before."""
        kept = self.chosen.name if self.chosen is not None else ""
        listed = self.query_one("#checks", OptionList)
        self.checks = merged(self._before, self._doctor.found)
        fresh = {check.name for check in self._doctor.found}
        width = max(listed.size.width - 3, 40)
        names = name_width(self.checks, width)
        listed.clear_options()
        for group, checks in groupby(self.checks, lambda check: check.group):
            listed.add_option(Option(Content.styled(group, "bold $muted"), disabled=True))
            listed.add_options(
                Option(check_row(check, names, width, self._marks, stale=check.name not in fresh), id=check.name)
                for check in checks
            )
        self.set_class(not self.checks, "-empty")
        if not self.checks:
            listed.add_option(Option(Content.styled(self._nothing(), "$muted"), disabled=True))
        else:
            known = {check.name for check in self.checks}
            self._highlight(kept if kept in known else self.checks[0].name)
        self._draw_title()
        self._draw_words()
        self._draw_meters()

    def _nothing(self) -> str:
        """Why there is no check."""
        if self._checking:
            return ASKING
        timed = self._timed() if self._wanted else ""
        return f"The checks wait: {timed}.\n{WAITING}" if timed else NO_REPORT

    def _draw_title(self) -> None:
        timed, told = self._timed() if self._wanted else "", Content("")
        if self._checking:
            told = Content.styled(f"checking, {len(self._doctor.found)} found so far", "$primary")
        elif timed:
            told = Content.styled(f"{timed}; the checks wait", "$primary")
        elif self._checked is not None:
            told = count_words(self.checks) + Content.styled(f", {age(monotonic() - self._checked)}", "$muted")
        self.query_one("#title", TextLine).show(Content.assemble(("System  ", "bold"), told))

    def _draw_meters(self) -> None:
        rows = tall_rows if self.has_class("-wide") else short_rows
        panel = self.query_one("#meters", FigureRows)
        why = disturbance(self._reading, self._timed(), checking=self._checking, readings=self._readings)
        panel.show(*rows(self._reading, why, panel.size.width, self._marks))

    @on(OptionList.OptionHighlighted)
    def _draw_words(self) -> None:
        check = self.chosen
        self.query_one("#about").border_title = Content(one_line(check.name, " ", " ")) if check is not None else ""
        self.query_one("#words", Static).update(check_words(check, self._marks) if check is not None else "")

    @on(RowList.Resized)
    def _fit(self) -> None:
        """Fit everything to the new width."""
        self._draw()

    def action_move(self, where: str) -> None:
        """Highlight another check."""
        listed = self.query_one("#checks", OptionList)
        listed.action_cursor_down() if where == "down" else listed.action_cursor_up()

    # --- taking it along ----------------------------------------------------------------------

    def _with_report(self, do: Callable[[], object]) -> None:
        if self.checks:
            do()
        else:
            self.notify(NO_REPORT)

    def action_copy(self) -> None:
        """Copy the report as text."""
        self._with_report(lambda: copy(self, as_text(self.checks), "the report"))

    def action_export(self) -> None:
        """Ask for a format and write the report."""
        from fastdraft_app.dialogs.formats import ExportScreen

        self._with_report(lambda: self.app.push_screen(ExportScreen(EXPORTED), self._export))

    def _export(self, kind: str | None) -> None:
        if kind is not None:
            save(self, lambda: export_report(kind, self.checks, self._preferences.current))
