"""What is typed in the wizard, read as the recipe reads it, and values of a recipe as one types them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, get_type_hints

import msgspec

from fastdraft_app.wizard.fields import DEVICE, PRESET, SECTIONS, Field, Kind
from fastdraft_core.training.recipe import Recipe, parse_count

_MOST_DIGITS = 10
"""Digits of a whole number: no width, seed or batch has more."""


def get_value(data: dict[str, Any], path: str) -> Any:
    """The value in the recipe, or the default of its section; None where there is neither."""
    section, _, key = path.rpartition(".")
    found = (data.get(section) or {} if section else data).get(key)
    if found is None:
        for one in msgspec.structs.fields(SECTIONS.get(section, Recipe)):
            if one.name == key and one.default is not msgspec.NODEFAULT:
                return one.default
    return found


def set_value(data: dict[str, Any], path: str, value: Any) -> None:
    """Put the value into the recipe; None takes it out."""
    section, _, key = path.rpartition(".")
    holder = data.setdefault(section, {}) if section else data
    if value is None:
        holder.pop(key, None)
    else:
        holder[key] = value


def write(value: Any, field: Field) -> str:
    """``value`` as one would type it."""
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case dict():
            return ", ".join(f"{name}={weight:g}" for name, weight in value.items())
        case list() | tuple():
            return ", ".join(f"{number:g}" for number in value)
        case float():
            return f"{value:g}"
    return _count(value) if field.kind == "count" else str(value)


def _count(value: int | str) -> str:
    if isinstance(value, str):
        return value
    for size, letter in ((10**9, "B"), (10**6, "M"), (10**3, "K")):
        if value >= size and value * 100 % size == 0:
            return f"{value / size:g}{letter}"
    return str(value)


def read(text: str, field: Field) -> Any:
    """The value that ``text`` means, checked as the recipe checks it.

    Raises:
        ValueError: it means nothing here; the message is a sentence.
        FastdraftError: as ValueError.
    """
    text = text.strip()
    if not text:
        if field.optional:
            return None
        raise ValueError("This must not be empty.")
    if field.path in (DEVICE, PRESET):
        return text
    value = _READERS[field.kind](text)
    if field.kind == "count":
        parse_count(value)
    section, _, key = field.path.rpartition(".")
    hint = get_type_hints(SECTIONS.get(section, Recipe), include_extras=True)[key]
    try:
        msgspec.convert(value, hint)
    except msgspec.ValidationError as error:
        raise ValueError(f"{text!r} will not do: {str(error).partition(' - at')[0].replace('`', '')}.") from None
    return value


def _whole(text: str) -> int:
    digits = text.replace(",", "").replace("_", "")
    if len(digits) > _MOST_DIGITS:
        raise ValueError("This number is too large.")
    try:
        return int(digits)
    except ValueError:
        raise ValueError(f"{text!r} is not a whole number.") from None


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a number.") from None
    if not math.isfinite(value):
        raise ValueError(f"{text!r} is not a number that can be used.")
    return value


def _flag(text: str) -> bool:
    if text not in ("yes", "no"):
        raise ValueError(f"{text!r} is neither yes nor no.")
    return text == "yes"


def _mixture(text: str) -> dict[str, float]:
    found = {}
    for part in text.split(","):
        name, sign, weight = part.partition("=")
        if not (name.strip() and sign):
            raise ValueError(f"{part.strip()!r} is no source with a weight; write for example code=0.65, text=0.35.")
        if name.strip() in found:
            raise ValueError(f"{name.strip()} is there twice.")
        found[name.strip()] = _number(weight.strip())
        if found[name.strip()] <= 0:
            raise ValueError(f"The weight of {name.strip()} must be above 0.")
    return found


_READERS: dict[Kind, Callable[[str], Any]] = {
    "text": str,
    "count": str,
    "whole": _whole,
    "number": _number,
    "numbers": lambda text: [_number(part.strip()) for part in text.split(",")],
    "mixture": _mixture,
    "flag": _flag,
    "choice": str,
}
