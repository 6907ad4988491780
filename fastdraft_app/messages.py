"""What screens tell the app."""

from __future__ import annotations

from dataclasses import dataclass

from textual.message import Message

from fastdraft_app.settings.settings import Changes


@dataclass
class SettingsChanged(Message):
    """The user chose other values for some settings; they hold from now on and are remembered."""

    changes: Changes
    chosen: bool = True
    """Whether just these values are wanted; else they are the defaults, and what was chosen is forgotten."""


@dataclass
class PointChosen(Message):
    """A point of a sweep is to be run in the live screen, with these settings."""

    changes: Changes


@dataclass
class SweepResumed(Message):
    """A kept sweep is to go on."""

    name: str


@dataclass
class DesignAsked(Message):
    """Shapes of drafts for this target are to be measured."""

    target: str
