"""What a sweep is asked to do: from the settings to the command line of ``fastdraft sweep``."""

from __future__ import annotations

import csv
import io

from fastdraft_app.settings.settings import AUTO, OFF, Settings
from fastdraft_core.models.catalog import bundled_drafts
from fastdraft_core.results.store import Result


def drafts_of(settings: Settings) -> list[str]:
    """The drafts that a sweep would measure: those named, else the bundled ones, else the one of the live screen."""
    named = [
        name.strip()
        for row in csv.reader([settings.sweep_drafts], skipinitialspace=True)
        for name in row
        if name.strip()
    ]
    if named:
        return named
    return bundled_drafts(settings.target) or ([] if settings.draft in ("", OFF) else [settings.draft])


def with_draft(settings: Settings, name: str) -> str:
    """``sweep_drafts`` with a draft added, or taken away where it was among them; the last one stays."""
    before = drafts_of(settings)
    after = [draft for draft in before if draft != name] if name in before else [*before, name]
    line = io.StringIO()
    # A name with a comma in it is put in quotes.
    csv.writer(line, lineterminator="").writerow(after or before)
    return line.getvalue()


def new_sweep(settings: Settings) -> list[str]:
    """The arguments of a new sweep; what is left at its default does not stand in the command that is kept."""
    given = {
        **_what(settings),
        "prompts": str(settings.sweep_prompts),
        "length": str(settings.sweep_length or ""),
        "within": settings.sweep_within,
        "budget": settings.sweep_budget,
        "top-k": str(settings.top_k or ""),
        "top-p": "" if settings.top_p == 1 else f"{settings.top_p:g}",
        "verification": "" if settings.verification == "token" else settings.verification,
        "seed": str(settings.seed),
        "runtime": settings.runtime,
        "device": settings.device,
        "draft-device": settings.draft_device,
        "dtype": "" if settings.dtype == AUTO else settings.dtype,
        "weights": settings.weights,
        "draft-weights": settings.draft_weights,
        "kv-precision": "" if settings.kv_precision == AUTO else settings.kv_precision,
        "threads": str(settings.threads or ""),
    }
    drafts = [f"--draft={name}" for name in drafts_of(settings)]
    flags = [f"--{name}={value}" for name, value in given.items() if value]
    return ["sweep", settings.target, *drafts, *flags, *_trust(settings), "--json"]


def _what(settings: Settings) -> dict[str, str]:
    """Gammas, temperatures and prompts: the settings', or those of the preset."""
    prompts = {"task": settings.sweep_task}
    if settings.sweep_file:
        prompts = {"prompt-file": settings.sweep_file, "field": settings.sweep_field}
    if settings.sweep_preset == "paper":
        return {"preset": "paper", **({} if "task" in prompts else prompts)}
    return {"gamma": settings.sweep_gamma, "temperature": settings.sweep_temp, **prompts}


def resumed_sweep(result: Result, settings: Settings) -> list[str]:
    """The arguments that go on with a kept result, for as long as a sweep may take now."""
    return ["sweep", f"--resume={result.plan.name}", f"--budget={settings.sweep_budget}", *_trust(settings), "--json"]


def _trust(settings: Settings) -> list[str]:
    return ["--trust-remote-code"] if settings.trust_remote_code else []
