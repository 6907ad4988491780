"""The screens that there are, with their keys."""

from __future__ import annotations

from dataclasses import dataclass

from textual.binding import Binding, BindingType


@dataclass(frozen=True)
class Destination:
    """A screen one can go to; ``mode`` is its name in the app."""

    key: str
    mode: str
    title: str
    about: str

    @property
    def binding(self) -> str:
        """The id of its key."""
        return f"app.go-{self.mode}"


DESTINATIONS = (
    Destination("1", "live", "live", "one prompt decoded both ways, side by side"),
    Destination("2", "sweep", "sweep", "which draft and which gamma are worth it here, measured"),
    Destination("3", "train", "train", "a draft for your target, in eight pages"),
    Destination("4", "jobs", "jobs", "trainings that run, wait or have ended"),
    Destination("5", "results", "results", "sweeps that were kept: open, compare, export"),
    Destination("6", "models", "models", "models on this machine, what fits what, and published drafts"),
    Destination("7", "system", "system", "this machine: what it has, what it does now, what is missing"),
)
"""In the order of their keys."""


def bindings() -> list[BindingType]:
    """A key for each place; the footer shows them once there is a choice."""
    return [
        Binding(
            place.key,
            f"switch_mode('{place.mode}')",
            place.title,
            id=place.binding,
            show=len(DESTINATIONS) > 1,
            tooltip=f"{place.title} screen: {place.about}",
        )
        for place in DESTINATIONS
    ]
