"""Samples: what a model writes while it learns, beside its target."""

from __future__ import annotations

from pathlib import Path

import torch

from fastdraft_core.events import Sampled
from fastdraft_core.jobs.describe import describe
from fastdraft_core.training.samples import make_samples
from tests.training.tiny import tiny_run


def test_a_sample_is_the_greedy_continuation_of_a_held_out_prompt(tmp_path: Path) -> None:
    """The text is what the model itself would write next, token by token, and the target's stands beside it."""
    run = tiny_run(tmp_path)
    samples = make_samples(run.held_out, run.tokenizer)
    samples.ask_target(run.model)
    (event,) = samples.of(run.model, "pt", 7)
    ids = run.held_out["text"].rows(0, 1)[0][:, :8]
    assert event.prompt == run.tokenizer.decode(ids[0], skip_special_tokens=True)
    row = torch.from_numpy(ids).long()
    written: list[int] = []
    with torch.no_grad():
        while len(written) < 8:
            token = int(run.model(input_ids=row).logits[0, -1].argmax())
            written.append(token)
            row = torch.cat([row, torch.tensor([[token]])], 1)
    assert event.text.startswith(
        run.tokenizer.decode(written[:6], skip_special_tokens=True).rstrip("\N{REPLACEMENT CHARACTER}")
    )
    assert (event.stage, event.step, event.source, event.target_text) == ("pt", 7, "text", event.text)


def test_a_model_cannot_steer_the_terminal() -> None:
    """A line of a log or of `jobs follow` shows control characters, it does not send them."""
    line = describe(Sampled(stage="pt", step=1, source="x", prompt="a\nb", text="\x1b[2J\x07", target_text="\x9b31m"))
    assert line.isprintable()
