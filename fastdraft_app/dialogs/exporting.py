"""Exporting with a toast for how it went: a model, while one does something else, and what a screen shows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from textual.app import App
from textual.screen import Screen

from fastdraft_app.client.command import Outcome
from fastdraft_app.client.convert import FORMS, convert
from fastdraft_core.models.local_models import export_folder


def ask_export(
    app: App[None], name: str, model: str, *, target: str = "", trusted: bool = False, then: Callable[[], object]
) -> None:
    """Ask what to export ``model`` as, and do so; ``then`` is called when the export has ended.

    Code that comes with a ``trusted`` model is run.
    """
    from fastdraft_app.dialogs.formats import ExportScreen

    def answered(form: str | None) -> None:
        if form is not None:
            _export(app, name, model, form, target, trusted, then)

    formats = {form: told.about for form, told in FORMS.items()}
    app.push_screen(ExportScreen(formats, title=f"Export {name}"), answered)


def _export(
    app: App[None], name: str, model: str, form: str, target: str, trusted: bool, then: Callable[[], object]
) -> None:
    """Write the export in a process of its own."""
    output = export_folder(name, FORMS[form].ending)
    if output.exists():
        app.notify(f"{output} is there already; delete that first.", severity="warning", markup=False)
        return
    kind = FORMS[form].about.partition(":")[0]
    app.notify(f"Exporting {name} for {kind}; this goes on wherever you are.", markup=False)

    async def work() -> None:
        try:
            outcome = await convert(model, output, target, form, trusted=trusted)
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
