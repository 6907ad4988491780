"""What is found out about this machine."""

from __future__ import annotations

from typing import Literal

from fastdraft_core.events.base import Event

CheckStatus = Literal["ok", "warn", "fail"]


class Check(Event, frozen=True):
    """One line of ``fastdraft doctor``; those of one ``group`` come together.

    ``advice`` says what to do unless ``status`` is ``ok``.
    """

    name: str
    value: str
    status: CheckStatus = "ok"
    advice: str = ""
    group: str = ""
