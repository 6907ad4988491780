"""Exporting with a toast for how it went: a model, while one does something else, and what a screen shows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from textual.app import App
from textual.screen import Screen

from fastdraft_app.client.command import Outcome
from fastdraft_app.client.convert import convert


def export(
    app: App[None],
    name: str,
    model: str,
    output: Path,
    *,
    target: str = "",
    trusted: bool = False,
    then: Callable[[], object],
) -> None:
    """Write an int8 IR of ``model`` to ``output`` in a process of its own; ``then`` is called when it has ended.

    Code that comes with a ``trusted`` model is run.
    """
    if output.exists():
        app.notify(f"{output} is there already; delete that first.", severity="warning", markup=False)
        return
    app.notify(f"Exporting {name} to int8 for OpenVINO; this goes on wherever you are.", markup=False)

    async def work() -> None:
        try:
            outcome = await convert(model, output, target, trusted=trusted)
        except OSError as error:
            outcome = Outcome(False, f"The converter could not be started ({error}).")
        title = "Exported" if outcome.done else "Not exported"
        app.notify(outcome.words, title=title, severity=outcome.severity, markup=False, timeout=12)
        then()

    app.run_worker(work(), group="export", exit_on_error=False)


def save(screen: Screen[None], write: Callable[[], Path]) -> None:
    """Have ``write`` make a file or folder and say where it is, or why there is none."""
    try:
        path = write()
    except OSError as error:
        screen.notify(f"Nothing was exported: {error.strerror or error}.", severity="error", markup=False)
    else:
        screen.notify(f"Saved {path}", markup=False, timeout=8)
