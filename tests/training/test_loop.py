"""The training loop: what was interrupted goes on exactly, and what fails says so."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from copy import deepcopy
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch

from fastdraft_core.data.shards import write_shard
from fastdraft_core.data.target_logits import open_target_logits, score
from fastdraft_core.errors import FastdraftError
from fastdraft_core.events import (
    Checkpointed,
    Evaluated,
    Event,
    StageFinished,
    StageStarted,
    Step,
    decode_message,
)
from fastdraft_core.training import loop
from fastdraft_core.training.evaluation import expected_acceptance, make_reference
from fastdraft_core.training.folders import find_checkpoint
from fastdraft_core.training.stop import Interrupted, Stop
from tests.runtimes.models import small_model
from tests.training import tiny
from tests.training.tiny import STEPS, tiny_run, tiny_stage

ROOT = Path(__file__).resolve().parents[2]


def losses(events: list[Event]) -> dict[int, float]:
    """The loss of every step, by number."""
    return {e.step: e.loss for e in events if isinstance(e, Step)}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> list[Event]:
    """The events of the training that nobody disturbed."""
    return list(loop.train_stage(tiny_run(tmp_path_factory.mktemp("uninterrupted"))))


def test_events_tell_the_whole_story(uninterrupted: list[Event]) -> None:
    """The job screen and `jobs follow` draw from events alone: a start, every step, an end, and what was saved."""
    assert isinstance(uninterrupted[0], StageStarted)
    assert isinstance(uninterrupted[-1], StageFinished)
    assert list(losses(uninterrupted)) == list(range(1, STEPS + 1))
    assert [e.step for e in uninterrupted if isinstance(e, Checkpointed)] == list(range(1, STEPS + 1))
    assert [e.tokens for e in uninterrupted if isinstance(e, Step)][-1] == STEPS * 64
    assert all(e.loss["text"] > 0 for e in uninterrupted if isinstance(e, Evaluated))


def test_it_learns(uninterrupted: list[Event]) -> None:
    """Ten steps on a regular text lower the loss; a wrong sign or a forgotten step would not."""
    steps = losses(uninterrupted)
    assert steps[STEPS] < steps[1]


@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
def test_a_stopped_training_goes_on_exactly(tmp_path: Path, optimizer: str) -> None:
    """Stop it and run the same command: every later loss is the very one of an undisturbed run."""
    stage = tiny_stage(optimizer=optimizer)
    whole = losses(list(loop.train_stage(tiny_run(tmp_path / "whole", stage))))
    before: list[Event] = []
    for event in (generator := loop.train_stage(tiny_run(tmp_path / "cut", stage))):
        before.append(event)
        if isinstance(event, Checkpointed) and event.step == 2:
            break
    generator.close()
    after = list(loop.train_stage(tiny_run(tmp_path / "cut", stage)))
    started = after[0]
    assert isinstance(started, StageStarted)
    assert started.step == 2
    assert losses(before) | losses(after) == whole


def test_a_killed_training_goes_on_exactly(tmp_path: Path, uninterrupted: list[Event]) -> None:
    """kill -9 at any moment: the next run goes on from the last checkpoint with the very same losses."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.training.tiny", str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    saved = 0
    for line in process.stdout:
        event = decode_message(line)
        saved = max(saved, event.step) if isinstance(event, Checkpointed) else saved
        if isinstance(event, Step) and event.step == 3:
            process.kill()
            break
    process.stdout.close()
    process.wait()
    resumed = list(loop.train_stage(tiny_run(tmp_path)))
    assert isinstance(resumed[0], StageStarted)
    assert saved <= resumed[0].step < STEPS
    whole = losses(uninterrupted)
    assert losses(resumed) == {step: whole[step] for step in range(resumed[0].step + 1, STEPS + 1)}


def test_a_finished_stage_is_not_trained_again(tmp_path: Path) -> None:
    """Running a finished recipe again costs nothing and changes nothing."""
    list(loop.train_stage(tiny_run(tmp_path)))
    weights = (tmp_path / "checkpoints/pt/last/model.safetensors").read_bytes()
    assert list(loop.train_stage(tiny_run(tmp_path))) == []
    assert (tmp_path / "checkpoints/pt/last/model.safetensors").read_bytes() == weights


def test_any_seed_of_a_recipe_trains(tmp_path: Path) -> None:
    """A moment in time, or any other large number, makes a seed; training must not fail on it after hours of data."""
    run = tiny_run(tmp_path)
    run.mixture.seed = (1 << 63) - 1
    assert isinstance(list(loop.train_stage(run))[-1], StageFinished)


def test_a_stage_does_not_go_on_with_other_data(tmp_path: Path) -> None:
    """Row n must stay row n: a source that was built anew is refused by name; a finished stage does not care."""
    stream = loop.train_stage(tiny_run(tmp_path))
    while not isinstance(event := next(stream), Checkpointed) or event.step < 2:
        pass
    stream.close()
    shard = tmp_path / "shard"
    shard.rename(tmp_path / "before")
    write_shard(shard, [([5, 6, 7] * 700, None)], source="text", tokenizer_hash="tiny", vocab_size=300)
    with pytest.raises(FastdraftError, match=r"Stage pt cannot go on: the tokens of text .* step 2 "):
        list(loop.train_stage(tiny_run(tmp_path)))
    shutil.rmtree(shard)
    (tmp_path / "before").rename(shard)
    assert isinstance(list(loop.train_stage(tiny_run(tmp_path)))[-1], StageFinished)
    shutil.rmtree(shard)
    assert list(loop.train_stage(tiny_run(tmp_path))) == []


def test_checkpoints_close_together_hide_no_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was measured before a checkpoint is told before it, however soon the next one comes."""
    run = tiny_run(tmp_path)
    monkeypatch.setattr(loop, "_EVENT_SECONDS", 1e9)
    events = list(loop.train_stage(run))
    assert list(losses(events)) == list(range(1, STEPS + 1))
    assert all(e.tokens_per_second > 0 for e in events if isinstance(e, Step))


def test_micro_batches_do_not_change_the_step(tmp_path: Path) -> None:
    """A smaller micro_batch, for less memory, is the same training."""
    one = losses(list(loop.train_stage(tiny_run(tmp_path / "1", tiny_stage(micro_batch=1)))))
    four = losses(list(loop.train_stage(tiny_run(tmp_path / "4", tiny_stage(micro_batch=4)))))
    assert one[1] == pytest.approx(four[1], rel=1e-3)
    assert one[STEPS] == pytest.approx(four[STEPS], rel=2e-2)


@pytest.mark.parametrize("spoilt", ["loss", "gradient"])
def test_a_loss_that_is_not_a_number_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoilt: str) -> None:
    """A training that went wrong must not run on for hours, nor save spoilt weights over good ones.

    A gradient can be infinite while the loss still looks well.
    """
    real, calls = loop.next_token_loss, iter(range(1000))

    def broken(*args: Any, **options: Any) -> torch.Tensor:
        loss = real(*args, **options)
        if not loss.requires_grad or next(calls) < 4:
            return loss
        if spoilt == "gradient":
            loss.register_hook(lambda gradient: gradient * torch.inf)
            return loss
        return loss * torch.nan

    monkeypatch.setattr(loop, "next_token_loss", broken)
    with pytest.raises(FastdraftError, match=r"at step 3.*pt\.learning_rate") as caught:
        list(loop.train_stage(tiny_run(tmp_path)))
    last = tmp_path / "checkpoints/pt/last"
    assert str(last.parent) in caught.value.message
    kept = find_checkpoint(last)
    assert kept is not None
    from safetensors.torch import load_file

    assert all(t.isfinite().all() for t in load_file(kept / "model.safetensors").values())


def test_the_best_checkpoint_is_the_same_whatever_the_clock_says(tmp_path: Path) -> None:
    """Evaluations come at fixed steps: a busy machine saves elsewhere, and judges, and picks, the same weights."""
    found = []
    for name, seconds in (("busy", 0.0), ("quiet", 3600.0)):
        run = distillation(tmp_path / name, "ce+kl")
        run.checkpoint_seconds = seconds
        events = list(loop.train_stage(run))
        saved = [e.step for e in events if isinstance(e, Checkpointed)]
        judged = {e.step: e.acceptance for e in events if isinstance(e, Evaluated)}
        found.append((judged, (run.folder / "best/model.safetensors").read_bytes()))
        assert set(judged) <= set(saved)
        assert max(judged) == STEPS
        assert (saved == list(range(1, STEPS + 1))) == (name == "busy")
    assert found[0] == found[1]


def test_an_evaluation_that_was_broken_off_is_made_up_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Paused in the last evaluation: without it a finished stage would have no best, and no figure in its card."""
    run, real = distillation(tmp_path, "ce+kl"), loop.evaluate

    def asked_to_leave(run: loop.StageRun, references: Any, step: int) -> Evaluated:
        if step == STEPS:
            raise Interrupted
        return real(run, references, step)

    monkeypatch.setattr(loop, "evaluate", asked_to_leave)
    with pytest.raises(Interrupted):
        list(loop.train_stage(run))
    monkeypatch.setattr(loop, "evaluate", real)
    events = list(loop.train_stage(distillation(tmp_path, "ce+kl")))
    assert [e.step for e in events if isinstance(e, Evaluated)] == [STEPS]
    assert (run.folder / "best/model.safetensors").is_file()
    assert list(loop.train_stage(distillation(tmp_path, "ce+kl"))) == []


def test_a_damaged_shard_ends_the_run_by_name(tmp_path: Path) -> None:
    """A shard with a flipped bit is refused before the first step; its folder is named."""
    tiny_run(tmp_path)
    path = tmp_path / "shard" / "tokens.bin"
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(FastdraftError, match="shard is damaged"):
        tiny_run(tmp_path)


def distillation(folder: Path, loss: str, steps: int = STEPS) -> loop.StageRun:
    """A run whose target is the untrained draft, made sure of itself; its probabilities are stored beside the shard."""
    run = tiny_run(folder, tiny_stage(loss=loss, tokens=steps * 64), checkpoint_seconds=3600.0)
    target = deepcopy(run.model)
    with torch.no_grad():
        target.lm_head.weight *= 30
    (shard,) = run.mixture.shards
    if not (folder / "logits").exists():
        list(score(folder / "logits", shard, target, top_k=8, vocab_size=300))
    run.mixture.logits = [open_target_logits(folder / "logits", shard)]
    run.references = lambda: {"text": make_reference(target, run.held_out["text"], 300)}
    return run


@pytest.mark.parametrize("loss", ["kl", "tvd"])
def test_distillation_raises_the_expected_acceptance(tmp_path: Path, loss: str) -> None:
    """What these losses are for: q moves towards p, as judged on whole distributions that no loss saw."""
    run = distillation(tmp_path, loss, steps=30)
    (before,) = loop.evaluate(run, run.references(), 0).acceptance.values()
    events = list(loop.train_stage(run))
    (after,) = [e for e in events if isinstance(e, Evaluated)][-1].acceptance.values()
    assert after > before + 0.05, (before, after)


def test_best_is_the_checkpoint_of_the_highest_acceptance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`best` and `last` are both kept: a later checkpoint that is worse does not replace the better one, after a resume too."""
    run = distillation(tmp_path, "kl")
    monkeypatch.setattr(loop, "evaluation_interval", lambda *_: 1)
    seen = iter([0.2, 0.5, 0.3, 0.1])
    monkeypatch.setattr(loop, "expected_acceptance", lambda *_: next(seen, 0.0))
    generator, kept = loop.train_stage(run), {}
    for event in generator:
        if isinstance(event, Checkpointed):
            kept[event.step] = (run.folder / "last/model.safetensors").read_bytes()
            if event.step == 3:
                break
    generator.close()
    resumed = distillation(tmp_path, "kl")
    list(loop.train_stage(resumed))
    assert (run.folder / "best/model.safetensors").read_bytes() == kept[2]
    assert (run.folder / "last/model.safetensors").read_bytes() not in kept.values()


def test_a_draft_that_is_its_target_is_always_accepted(tmp_path: Path) -> None:
    """Σ min(p, p) = 1 at every temperature; another draft stays below, and is nearer at a higher temperature."""
    target = small_model("llama", seed=5, vocab_size=300)
    reference = make_reference(target, tiny_run(tmp_path).held_out["text"], 300)
    other = small_model("llama", seed=6, vocab_size=300)
    for temperature in (0.6, 1.0):
        assert expected_acceptance(target, reference, temperature=temperature) == pytest.approx(1, abs=2e-3)
        assert expected_acceptance(other, reference, temperature=temperature) < 0.8


def test_the_same_recipe_gives_the_same_weights(tmp_path: Path, uninterrupted: list[Event]) -> None:
    """The seed fixes everything: a training that is run again ends with the very same bytes; another seed does not."""
    again, other = tiny_run(tmp_path / "again"), tiny_run(tmp_path / "other")
    other.mixture.seed = 2
    list(loop.train_stage(again))
    list(loop.train_stage(other))
    saved = [e.path for e in uninterrupted if isinstance(e, Checkpointed)][-1]
    weights = (Path(saved) / "model.safetensors").read_bytes()
    assert (again.folder / "last/model.safetensors").read_bytes() == weights
    assert (other.folder / "last/model.safetensors").read_bytes() != weights


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_signal_saves_and_leaves_within_ten_seconds(tmp_path: Path, sent: signal.Signals) -> None:
    """The end of a batch job and Ctrl-C: no step is lost, and the next run goes on from there."""
    run = tiny_run(tmp_path, checkpoint_seconds=3600.0)
    steps: list[int] = []
    sent_at: list[float] = []

    def train() -> None:
        for event in loop.train_stage(run):
            if isinstance(event, Step):
                steps.append(event.step)
                if event.step == 4:
                    sent_at.append(time.monotonic())
                    os.kill(os.getpid(), sent)

    with run.stop.on_signals(), pytest.raises(Interrupted):
        train()
    assert time.monotonic() - sent_at[0] < 10
    started = next(loop.train_stage(tiny_run(tmp_path)))
    assert isinstance(started, StageStarted)
    assert started.step == steps[-1] == 4


def test_under_nohup_a_lost_terminal_ends_nothing() -> None:
    """`nohup fastdraft train X &`, and the terminal is closed: what was told to outlive it goes on."""
    before, stop = signal.signal(signal.SIGHUP, signal.SIG_IGN), Stop()
    try:
        with stop.on_signals():
            os.kill(os.getpid(), signal.SIGHUP)
        assert not stop.requested
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_signal_amid_a_step_or_an_evaluation_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long pass is broken off, and the later losses are still those of an undisturbed run: half a step leaves no trace."""
    whole = losses(list(loop.train_stage(tiny_run(tmp_path / "whole", checkpoint_seconds=3600.0))))
    real, calls, found = loop.next_token_loss, iter(range(10_000)), {}

    def disturbed(run: loop.StageRun, after: int) -> None:
        def loss(*args: Any, **options: Any) -> torch.Tensor:
            if next(calls) == after:
                run.stop.request()
            return real(*args, **options)

        monkeypatch.setattr(loop, "next_token_loss", loss)
        for event in loop.train_stage(run):
            found.update(losses([event]))

    # Two micro-batches a step: the second of step 4, and after ten steps the last of three evaluations.
    for after in (7, 7 + 2 * 7 + 3):
        with pytest.raises(Interrupted):
            disturbed(tiny_run(tmp_path / "cut", checkpoint_seconds=3600.0), after)
    assert found == whole
    # No step is left, only the evaluation that was broken off.
    assert not losses(list(loop.train_stage(tiny_run(tmp_path / "cut"))))
    assert list(loop.train_stage(tiny_run(tmp_path / "cut"))) == []


@pytest.mark.parametrize(
    ("change", "says"),
    [("optimizer", "written with another optimizer"), ("model", r"another shape than the recipe's \[model\]")],
)
def test_a_changed_recipe_is_refused_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str, says: str
) -> None:
    """Half of an old state under a new optimizer would train badly without a word; another shape would be a traceback."""
    list(loop.train_stage(tiny_run(tmp_path, tiny_stage(tokens=128, optimizer="adamw"))))
    if change == "model":
        monkeypatch.setattr(tiny, "_SHAPE", msgspec.structs.replace(tiny._SHAPE, hidden_size=32))
    other = tiny_run(tmp_path, tiny_stage(optimizer="muon" if change == "optimizer" else "adamw"))
    with pytest.raises(FastdraftError, match=says):
        list(loop.train_stage(other))


def test_activation_checkpointing_is_the_same_training(tmp_path: Path) -> None:
    """Less memory for the same losses."""
    plain = losses(list(loop.train_stage(tiny_run(tmp_path / "plain"))))
    less = losses(list(loop.train_stage(tiny_run(tmp_path / "less", tiny_stage(activation_checkpointing=True)))))
    assert less == pytest.approx(plain, rel=1e-4)


def test_events_tell_speed_memory_and_time_left(uninterrupted: list[Event]) -> None:
    """What the job screen shows beside the loss, with sense in it: shares are shares, and the time left ends at nought."""
    steps = [e for e in uninterrupted if isinstance(e, Step)]
    assert all(e.utilisation is not None and 0 < e.utilisation < 1.5 for e in steps)
    assert all(0 <= e.data_wait_share <= 1 and e.memory > 1 << 20 for e in steps)
    assert steps[-1].seconds_left == 0
    assert (steps[0].seconds_left or 0) > 0
