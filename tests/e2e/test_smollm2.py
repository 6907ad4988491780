"""The published target itself: greedy text is its own with any draft, and the app shows it."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from fastdraft_core import places
from fastdraft_core.decoding.records import Pass
from fastdraft_core.decoding.sampling import Sampling
from fastdraft_core.engine.load_options import LoadOptions
from fastdraft_core.engine.pair import Pair, load_pair
from fastdraft_core.models.catalog import SMOLLM2, usual_draft
from tests.terminal import Session, alive

pytestmark = [pytest.mark.real, pytest.mark.slow]

PROMPTS = (
    "The capital of France is", "Once upon a time there was a", "def fibonacci(n):\n", "import os\nimport", "1, 2, 3, 4,",
    "Water boils at", "Dear Sir or Madam,", "class Stack:\n    def", "The opposite of hot is", "SELECT name FROM",
    "What is a prime number?", "for i in range(10):\n", "She opened the door and", "To bake bread you need", "#include <stdio.h>\n",
    "The sun rises in the", "A haiku about rain:\n", "try:\n    value = int(text)\nexcept", "Photosynthesis is", "In 1969,",
)  # fmt: skip
LENGTH, GAMMA = 8, 3


@pytest.fixture
def smollm2(home: Path, smollm2_folder: Path) -> str:
    """The name, with the model where ``fastdraft download`` would have put it."""
    del home
    places.models().mkdir(parents=True)
    (places.models() / SMOLLM2).symlink_to(smollm2_folder)
    return SMOLLM2


@pytest.fixture(scope="module")
def draft(smollm2_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The bundled draft; as long as there is none, the target's own first layers."""
    if bundled := usual_draft(SMOLLM2):
        return bundled
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model: Any = AutoModelForCausalLM.from_pretrained(smollm2_folder, dtype="bfloat16")
    model.model.layers = model.model.layers[:2]
    model.config.num_hidden_layers = 2
    folder = tmp_path_factory.mktemp("draft")
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(smollm2_folder).save_pretrained(folder)
    return str(folder)


def decoded(pair: Pair, mode: str, prompt: str) -> list[Pass]:
    """The passes of a greedy text."""
    request = pair.request(prompt, max_new_tokens=LENGTH, sampling=Sampling(), ignore_stops=True, chat=False)
    return [record for record in pair.decode(mode, request, GAMMA) if isinstance(record, Pass)]


def test_greedy_text_is_the_targets_own(smollm2: str, draft: str) -> None:
    """In float32 speculation changes no token of twenty texts, with drafted tokens accepted and rejected."""
    pair = load_pair(smollm2, draft, LoadOptions(device="cpu", dtype="float32", runtime="torch"))
    drafted = accepted = 0
    for prompt in PROMPTS:
        alone, together = decoded(pair, "ar", prompt), decoded(pair, "sd", prompt)
        assert [i for one in together for i in one.emitted] == [i for one in alone for i in one.emitted], prompt
        drafted += sum(len(one.drafted) for one in together)
        accepted += sum(one.accepted for one in together)
    assert 0 < accepted < drafted


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals on Windows")
def test_the_app_shows_it(smollm2: str, draft: str) -> None:
    """The first screen, with the real pair measured on this machine."""
    given = ["--target", smollm2, "--draft", draft] if draft != usual_draft(smollm2) else []
    session = Session(
        "fastdraft_app.app", *given, "--runtime", "torch", "--length", "16", "--no-intro", columns=160, rows=48
    )
    try:
        session.read_until(b"smollm2")
        session.read_until(b"replayed together")
        os.write(session.fd, b"q")
        assert session.ended() == 0
        assert b"Traceback" not in session.output
    finally:
        if alive(session.pid):
            os.kill(session.pid, signal.SIGKILL)
