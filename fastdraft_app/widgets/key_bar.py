"""The keys of the present screen on one line, made from its bindings."""

from __future__ import annotations

from itertools import groupby

from textual import events
from textual.binding import ActiveBinding, Binding
from textual.content import Content
from textual.style import Style

from fastdraft_app.navigation import DESTINATIONS
from fastdraft_app.theme.palette import marks
from fastdraft_app.widgets.line import TextLine

ALWAYS = ("app.help", "app.quit")
"""The ids of what is shown however narrow the line is."""
SCREENS = tuple(place.binding for place in DESTINATIONS)
"""Those of what is always shown where the line is wide."""
WIDE = 140


class KeyBar(TextLine):
    """As many keys as fit whole, each also a button for the mouse; help and quit always."""

    DEFAULT_CSS = """
    KeyBar { padding: 0 1; background: $footer-background; }
    """

    def __init__(self, *, ascii_only: bool, id: str) -> None:  # noqa: A002  Textual's name
        super().__init__(id=id)
        self._gamma = marks(ascii_only).gamma[0]
        self._grey: frozenset[str] = frozenset()

    def on_mount(self) -> None:
        """Follow the bindings of the screen."""
        self.screen.bindings_updated_signal.subscribe(self, self._changed)

    def on_resize(self) -> None:
        """Choose anew what fits."""
        self._changed(None)

    def on_click(self, event: events.Click) -> None:
        """Press the key that was clicked."""
        key = event.style.meta.get("key")
        if key:
            self.app.simulate_key(key)

    def show_grey(self, actions: frozenset[str]) -> None:
        """Grey out the keys of ``actions``, which can do nothing at the moment; pressed, they say why."""
        if actions != self._grey:
            self._grey = actions
            self._changed(None)

    def _changed(self, _: object) -> None:
        keys = [active for active in self.screen.active_bindings.values() if active.binding.show]
        entries = [
            (active[0].binding.id or "", self._entry(active))
            for active in (list(group) for _, group in groupby(keys, _group))
        ]
        self.show(choose(entries, self.size.width))

    def _entry(self, keys: list[ActiveBinding]) -> Content:
        if keys[0].binding.action in self._grey:
            key, words = "$muted", "$muted"
        else:
            key, words = "bold $footer-key-foreground", "$footer-description-foreground"
        names = {active.binding.action: active for active in reversed(keys)}
        shown = [_button(self.app.get_key_display(active.binding), key, active) for active in reversed(names.values())]
        return Content("").join(
            [
                *shown,
                _button(
                    f" {keys[0].binding.description}".replace("γ", self._gamma),
                    words,
                    keys[-1],
                ),
            ]
        )


def choose(entries: list[tuple[str, Content]], width: int) -> Content:
    """Of the entries, each with the id of its key, those that fit ``width``, in order.

    Help, quit, and on a wide line the screens come before the others.
    """
    always, close = ((*ALWAYS, *SCREENS), SCREENS[:-1]) if width >= WIDE else (ALWAYS, ())
    # The screens stand close to each other, which leaves room for one more key of the present one.
    spaced = [(key, entry + (" " if key in close else "  ")) for key, entry in entries]
    room = width + 2 - sum(entry.cell_length for key, entry in spaced if key in always)
    chosen = []
    for key, entry in spaced:
        if key not in always:
            room -= entry.cell_length
        if key in always or room >= 0:
            chosen.append(entry)
    return Content("").join(chosen).rstrip()


def _group(active: ActiveBinding) -> Binding.Group | str:
    return active.binding.group or active.binding.action


def _button(text: str, style: str, active: ActiveBinding) -> Content:
    return Content.styled(text, style).stylize(Style.from_meta({"key": active.binding.key}))
