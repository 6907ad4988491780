"""Everything that can be set, made from the schema; what is chosen here holds at once and is remembered."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import ClassVar, cast

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Checkbox, Input, Select, Static

from fastdraft_app.dialogs.dialog import Dialog
from fastdraft_app.messages import SettingsChanged
from fastdraft_app.settings.preferences import Preferences
from fastdraft_app.settings.schema import Field, fields
from fastdraft_app.settings.settings import Value

ELSEWHERE = ("prompt",)
"""Set on a screen of its own."""


class Tick(Checkbox):
    """A check box that is empty when it is off, so that it can be read without colour."""

    @property
    def BUTTON_INNER(self) -> str:  # type: ignore[override]  # noqa: N802  Textual's name
        """What stands in the box."""
        return "X" if self.value else " "


class SettingsScreen(Dialog[None]):
    """One row a setting: name, value, what it is for."""

    CSS_PATH = "settings.tcss"
    HORIZONTAL_BREAKPOINTS = [(0, "-slim"), (100, "-broad")]
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,f2", "leave", "back", id="settings.back", tooltip="take a value being typed and go back"),
        Binding("f9", "defaults", "defaults", id="settings.defaults", key_display="F9",
                tooltip="set everything back to its default"),
    ]  # fmt: skip

    def __init__(self, preferences: Preferences, only: Sequence[str] = (), title: str = "Settings") -> None:
        """``only`` names the settings to show; none means all."""
        super().__init__()
        self._preferences = preferences
        self._fields = [field for field in fields() if field.name not in ELSEWHERE and (not only or field.name in only)]
        self._title = title

    def compose(self) -> ComposeResult:
        """Group by group."""
        with VerticalScroll(id="page"):
            for group, shown in groupby(self._fields, lambda field: field.group):
                yield Static(Content.styled(group.upper(), "bold $muted"), classes="group")
                for field in shown:
                    with Horizontal(classes="row"):
                        yield Static(Content(field.label), classes="name")
                        yield self._editor(field)
                        yield Static(Content(self._about(field)), classes="about", id=f"about-{field.name}")

    def on_mount(self) -> None:
        """Title, where the file is, and the way out."""
        page = self.query_one("#page")
        page.border_title = Content(self._title)
        page.border_subtitle = Content("esc back, F9 all defaults")
        self.query_one("#page Input", Input).focus()

    def _about(self, field: Field) -> str:
        flag = " (by flag, for this session)" if field.name in self._preferences.flags else ""
        return field.about + flag

    def _editor(self, field: Field) -> Widget:
        value, name = self._value(field), f"set-{field.name}"
        if field.kind is bool:
            return Tick(value=bool(value), id=name, compact=True)
        if field.choices:
            return Select([(choice, choice) for choice in field.choices], value=value, allow_blank=False, id=name,
                          compact=True)  # fmt: skip
        return Input(_text(value), id=name, compact=True, placeholder=_text(field.default))

    def _value(self, field: Field) -> Value:
        return cast(Value, getattr(self._preferences.current, field.name))

    @on(Checkbox.Changed)
    @on(Select.Changed)
    def _chosen(self, event: Checkbox.Changed | Select.Changed) -> None:
        self._take(_field_of(event.control), _text(cast(Value, event.value)))

    @on(Input.Submitted)
    @on(Input.Blurred)
    def _typed(self, event: Input.Submitted | Input.Blurred) -> None:
        self._take(_field_of(event.input), event.value)

    def _take(self, field: Field, text: str) -> bool:
        """Use what was entered, or say why not; whether it could be used."""
        about = self.query_one(f"#about-{field.name}", Static)
        try:
            value = field.read(text)
        except ValueError as error:
            about.update(Content.styled(str(error), "$error"))
            return False
        changed = value != self._value(field)
        if changed:
            self.post_message(SettingsChanged({field.name: value}))
        about.update(Content(field.about if changed else self._about(field)))
        return True

    def action_leave(self) -> None:
        """Go back, unless what is being typed cannot be used."""
        typed = self.focused
        if not isinstance(typed, Input) or self._take(_field_of(typed), typed.value):
            self.dismiss(None)

    def action_defaults(self) -> None:
        """Set everything back."""
        changes = {
            field.name: field.default
            for field in self._fields
            if self._value(field) != field.default or self._preferences.chosen(field.name)
        }
        if changes:
            self.post_message(SettingsChanged(changes, chosen=False))
        for field in self._fields:
            _show(self.query_one(f"#set-{field.name}"), field.default)


def _field_of(widget: Widget) -> Field:
    return next(field for field in fields() if widget.id == f"set-{field.name}")


def _text(value: Value) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def _show(editor: Widget, value: Value) -> None:
    if isinstance(editor, Input):
        editor.value = _text(value)
    elif isinstance(editor, Checkbox):
        editor.value = bool(value)
    elif isinstance(editor, Select):
        editor.value = value
