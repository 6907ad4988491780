"""What is said of conversions without loading a library is what the installed library does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from packaging.version import Version

from fastdraft_core import doctor, places
from fastdraft_core.models import local_models
from fastdraft_core.models.convertible import CONVERTED, CONVERTED_UP_TO, conversion_problem
from fastdraft_core.runtimes.openvino import conversion
from tests.folders import tiny_target, write_model


def test_the_table_is_the_installed_librarys() -> None:
    """Every causal model that optimum-intel knows: converted with this transformers, or up to the version that is named."""
    assert conversion  # Switches usage figures off before the library is imported.
    import optimum.exporters.openvino  # noqa: F401 - registers what it knows
    import transformers
    from optimum.exporters.tasks import TasksManager

    here, converted, up_to = Version(transformers.__version__), set(), {}
    for model_type, backends in TasksManager._SUPPORTED_MODEL_TYPE.items():
        task = backends.get("openvino", {}).get("text-generation-with-past")
        if task is None:
            continue
        known = getattr(task, "func", task)
        first, last = (
            Version(str(getattr(known, f"{end}_TRANSFORMERS_VERSION", None) or at))
            for end, at in (("MIN", "0"), ("MAX", "99"))
        )
        if first <= here <= last:
            converted.add(model_type)
        elif first <= last < here:
            up_to[model_type] = str(last).removesuffix(".99")
    assert converted == CONVERTED
    assert up_to == CONVERTED_UP_TO


def test_a_model_that_cannot_be_converted_is_named_with_the_version_that_could(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Doctor and the models screen tell it before anybody waits for it."""
    folder = tmp_path / "gemma"
    write_model(folder, tiny_target())
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "gemma2"}))
    monkeypatch.setattr(places, "exports", lambda: tmp_path)
    (model,) = (m for m in local_models.shelf() if m.place == "exported")
    assert model.entry.model_type == "gemma2"
    (check,) = (c for c in doctor.checks(bandwidth=False) if c.name == "OpenVINO conversion")
    assert check.status == doctor.WARN
    assert "gemma2" in check.value
    assert "5.0" in check.value
    assert "--runtime torch" in check.advice
    assert conversion_problem("llama") == ""
    assert "no conversion of olmo3" in conversion_problem("olmo3")
