"""The app's process stays light."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("torch", "transformers", "openvino", "numpy", "tokenizers", "datasets", "accelerate", "optimum", "matplotlib")
PURE = [
    f"fastdraft_app{name}"
    for name in (
        "", ".cli", ".exports", ".live.controller", ".live.playback", ".live.recordings", ".live.replay", ".result_view.surface",
        ".sweep.session", ".system.machine", ".wizard.answers", ".wizard.looks", ".wizard.turns",
    )
]  # fmt: skip


def test_app_imports_no_model_library() -> None:
    """The first picture comes at once because the app's process loads no model library."""
    code = "import sys, pkgutil, importlib, fastdraft_app as app;"
    code += "names = [m.name for m in pkgutil.walk_packages(app.__path__, 'fastdraft_app.')];"
    code += "[importlib.import_module(name) for name in names if not name.endswith('__main__')];"
    code += f"print(*[name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize("module", PURE)
def test_pure_modules_import_no_textual(module: str) -> None:
    """``--help`` answers at once, and the replay can be used without a terminal."""
    code = f"import sys, {module}; print('textual' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_jobs_are_read_and_steered_without_a_model_library() -> None:
    """The job screens, and a job that only waits for its turn, hold no torch in memory."""
    names = ", ".join(f"fastdraft_core.jobs.{name}" for name in ("control", "describe", "queue", "run", "view"))
    code = f"import sys, {names}; print(*[name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
