"""The settings as data: for each field its kind, limits, choices and description."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, get_type_hints

import msgspec

from fastdraft_app.settings.settings import GROUPS, Settings, Value


@dataclass(frozen=True)
class Field:
    """One setting. ``choices`` is empty where any value of ``kind`` from ``low`` to ``high`` will do."""

    name: str
    kind: type[Value]
    default: Value
    about: str
    group: str
    low: float | None
    high: float | None
    choices: tuple[str, ...]

    @property
    def label(self) -> str:
        """The name on screen and, after two dashes, on the command line."""
        return self.name.replace("_", "-")

    @property
    def expects(self) -> str:
        """What a value must be, in words."""
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        if self.kind is bool:
            return "true or false"
        if self.kind is str:
            return "text"
        assert self.low is not None
        assert self.high is not None
        noun = "a whole number" if self.kind is int else "a number"
        return f"{noun} from {self.low:g} to {self.high:g}"

    def check(self, value: object) -> Value:
        """``value`` as this setting's own type.

        Raises:
            ValueError: it is not what the setting expects; the message says so.
        """
        return self._convert(value, strict=True)

    def read(self, text: str) -> Value:
        """The value that ``text`` writes out, on a command line or in an input.

        Raises:
            ValueError: it is not what the setting expects; the message says so.
        """
        return self._convert(text, strict=False)

    def _convert(self, value: object, *, strict: bool) -> Value:
        try:
            converted: Value = msgspec.convert(value, _types()[self.name], strict=strict)
        except msgspec.ValidationError:
            raise ValueError(f"{value!r} is not {self.expects}") from None
        return converted


@cache
def fields() -> tuple[Field, ...]:
    """Every setting, group by group, in the order of the schema."""
    found = [_field(name, kind) for name, kind in _types().items()]
    return tuple(sorted(found, key=lambda field: GROUPS.index(field.group)))


@cache
def _types() -> dict[str, Any]:
    return get_type_hints(Settings, include_extras=True)


def _field(name: str, annotated: Any) -> Field:
    inner, meta = annotated.__origin__, annotated.__metadata__[0]
    choices = getattr(inner, "__args__", ())
    return Field(
        name=name,
        kind=str if choices else inner,
        default=getattr(Settings, name),
        about=meta.description,
        group=meta.extra["group"],
        low=meta.ge,
        high=meta.le,
        choices=choices,
    )
