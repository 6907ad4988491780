"""SmolLM2 as an installation has it once it was brought and its drafts are bundled."""

from __future__ import annotations

from pathlib import Path

import pytest

from fastdraft_core import places


def write_smollm2(folder: Path, monkeypatch: pytest.MonkeyPatch, *, target: bool = True, draft: bool = True) -> None:
    """An installation with ``smollm2`` and ``smollm2:S``, or one of them, by their configurations alone."""
    assets = places.assets()
    made = folder / "assets"
    made.mkdir(parents=True)
    for name in ("demo", "recipes", "recordings"):
        (made / name).symlink_to(assets / name)
    if draft:
        (made / "smollm2" / "drafts").mkdir(parents=True)
        (made / "smollm2" / "drafts" / "S").symlink_to(assets / "demo" / "drafts" / "XS")
    monkeypatch.setattr(places, "assets", lambda: made)
    if target:
        (places.models() / "smollm2").mkdir(parents=True, exist_ok=True)
        (places.models() / "smollm2" / "config.json").write_text("{}")
