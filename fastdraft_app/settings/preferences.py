"""The settings of this session and the file that remembers them.

Flags win for their session and are not remembered; what is changed on screen is, flag or not. A
value that makes no sense is explained and left at its default, never fatal.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path

import tomli_w

from fastdraft_app.settings.schema import Field, fields
from fastdraft_app.settings.settings import GROUPS, Changes, Settings, Value
from fastdraft_core.files import write_atomic


class Preferences:
    """``current`` is what this session uses; ``problems`` are sentences on what the file has wrong."""

    def __init__(self, path: Path, flags: Changes) -> None:
        self.path = path
        self.flags = dict(flags)
        self.problems: list[str] = []
        # What the file gives, be it the default.
        self._given: set[str] = set()
        self._kept = self._read()
        self.current = self._kept.with_changes(self.flags)

    def chosen(self, name: str) -> bool:
        """Whether a person gave this setting its value: in the file, with a flag or on screen."""
        return name in self.flags or name in self._given

    def change(self, changes: Changes, *, chosen: bool = True) -> None:
        """Use ``changes`` from now on and remember them, as ``chosen`` or as defaults; a full disk becomes a problem, no error."""
        self.current = self.current.with_changes(changes)
        self._kept = self._kept.with_changes(changes)
        self._given = self._given | changes.keys() if chosen else self._given - changes.keys()
        self.flags = {name: value for name, value in self.flags.items() if name not in changes}
        try:
            write_atomic(self.path, render(self._kept, self._given).encode())
        except OSError as error:
            self.problems.append(f"The settings cannot be saved in {self.path} ({error.strerror or error}).")

    def use(self, changes: Changes) -> None:
        """Use ``changes`` in this session, as if they were flags: they are not remembered."""
        self.current = self.current.with_changes(changes)
        self.flags |= changes

    def advise(self, changes: Changes) -> None:
        """Use ``changes`` in this session for settings that nobody has chosen, and leave them unchosen."""
        self.current = self.current.with_changes(changes)

    def take_problems(self) -> list[str]:
        """The problems that were not told yet."""
        told, self.problems = self.problems, []
        return told

    def _read(self) -> Settings:
        try:
            given = tomllib.loads(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return Settings()
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            self.problems.append(f"{self.path} cannot be read ({error}); the defaults are used.")
            return Settings()
        self._report_unknown(given)
        return Settings().with_changes({field.name: self._value(field, given) for field in fields()})

    def _value(self, field: Field, given: Mapping[str, object]) -> Value:
        if field.name not in given:
            return field.default
        try:
            value = field.check(given[field.name])
        except ValueError as error:
            self.problems.append(f"{self.path}: {field.name} = {error}; {field.default!r} is used.")
            return field.default
        self._given.add(field.name)
        return value

    def _report_unknown(self, given: Mapping[str, object]) -> None:
        names = [field.name for field in fields()]
        for name in sorted(given.keys() - set(names)):
            near = difflib.get_close_matches(name, names, 1)
            hint = f"; did you mean {near[0]}?" if near else "."
            self.problems.append(f"{self.path}: there is no setting {name!r}, it is ignored{hint}")


def render(settings: Settings, given: Collection[str] = ()) -> str:
    """The settings file: every setting with its description, those at their default commented out unless ``given``."""
    lines = ["# Settings of fastdraft-app. It rewrites this file when a setting is changed in it."]
    for group in GROUPS:
        lines.append(f"\n# --- {group}")
        for field in fields():
            if field.group == group:
                lines.extend(_render(field, getattr(settings, field.name), given=field.name in given))
    return "\n".join(lines) + "\n"


def _render(field: Field, value: Value, *, given: bool) -> list[str]:
    line = tomli_w.dumps({field.name: value}).rstrip("\n")
    return ["", f"# {field.about}", line if given or value != field.default else f"# {line}"]
