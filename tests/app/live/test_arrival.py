"""smollm2 comes while the bundled pair runs; where it cannot, one sentence says so and a key tries again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from fastdraft_app.app import FastdraftApp
from fastdraft_app.live.arrival import Arrival
from fastdraft_app.live.session import Phase
from fastdraft_core import places
from fastdraft_core.models.catalog import SMOLLM2, SMOLLM2_HUB
from tests.app.conftest import MakeApp
from tests.app.helpers import wait_for
from tests.smollm2 import write_smollm2


@pytest.fixture(autouse=True)
def _no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)


def put_into_hub_cache(folder: Path) -> None:
    """The model as the hub's library leaves it, with one small weight."""
    snapshot = folder / f"models--{SMOLLM2_HUB.replace('/', '--')}" / "snapshots" / ("a" * 40)
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text('{"architectures": ["LlamaForCausalLM"]}')
    (snapshot / "tokenizer.json").write_text("{}")
    save_file({"w": torch.zeros(4, dtype=torch.bfloat16)}, snapshot / "model.safetensors")


def told(app: FastdraftApp) -> str:
    """What stands in the line."""
    return app.live.query_one(Arrival).text


async def test_it_is_tried_again_and_then_loaded_with_its_draft(
    make_app: MakeApp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unreachable, the bundled pair stays; once it has come, it is loaded, and nothing of that is a chosen setting."""
    write_smollm2(tmp_path, monkeypatch, target=False)
    app = make_app("--download")
    async with app.run_test(size=(120, 40)) as pilot:
        assert app.live.controller.settings.target == "demo"
        await wait_for(pilot, lambda: "b tries again" in told(app))
        assert "HF_HUB_OFFLINE is set" in told(app)
        await wait_for(pilot, lambda: app.live.session.phase is Phase.DONE)
        put_into_hub_cache(tmp_path / "hub")
        await pilot.press("b")
        await wait_for(pilot, lambda: app.live.session.pair and app.live.session.pair.target.name == SMOLLM2)
        settings = app.live.controller.settings
        assert (settings.target, settings.draft) == (SMOLLM2, f"{SMOLLM2}:S")
        assert told(app) == ""
        assert any(SMOLLM2 in notice.message for notice in app._notifications)
        assert not app.preferences.chosen("target")
        assert "live.bring" not in {active.binding.id for active in app.screen.active_bindings.values()}


async def test_a_pair_that_somebody_chose_stays(
    make_app: MakeApp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told of, and no more; without a draft of its own it never takes the place of the bundled pair."""
    app = make_app("--target", "demo")
    async with app.run_test():
        write_smollm2(tmp_path, monkeypatch, draft=False)
        assert "m takes it alone" in app.live.controller.take_arrival()
        write_smollm2(tmp_path / "more", monkeypatch)
        assert "m takes it" in app.live.controller.take_arrival()
        assert app.live.controller.settings.target == "demo"


async def test_nothing_is_brought_unasked(make_app: MakeApp) -> None:
    """Without the flag no process is started, and the key is there."""
    app = make_app()
    async with app.run_test():
        assert told(app) == ""
        assert not places.models().exists()
        assert "live.bring" in {active.binding.id for active in app.screen.active_bindings.values()}
