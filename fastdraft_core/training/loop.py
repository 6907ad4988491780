"""The training loop: a generator of events that can be killed at any step and go on exactly.

Exactly: with the same recipe, eagerly, on the same kind of device. Another number of processes, another ``micro_batch`` and
compiled kernels sum in another order, so there it goes on equal to rounding.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from fastdraft_core.data.memory import memory_for
from fastdraft_core.data.mixtures import Mixture
from fastdraft_core.errors import FastdraftError
from fastdraft_core.events import Checkpointed, Evaluated, Event, StageFinished, StageStarted
from fastdraft_core.training.checkpoints import Trainer, load_trainer, load_weights, save_checkpoint
from fastdraft_core.training.evaluation import Reference, accepted_share, expected_acceptance
from fastdraft_core.training.flops import flops_per_token
from fastdraft_core.training.folders import find_checkpoint
from fastdraft_core.training.losses import Sparse, next_token_loss
from fastdraft_core.training.matrix_peak import matrix_peak
from fastdraft_core.training.meter import Meter
from fastdraft_core.training.optimizers import (
    learning_rate,
    make_optimizers,
    optimizer_state,
    peak_learning_rate,
    restore_optimizers,
    set_rate,
)
from fastdraft_core.training.processes import agree, mixed_precision, row_shares, total
from fastdraft_core.training.recipe import Stage, num_steps, rows_per_step, tokens_per_step
from fastdraft_core.training.short_head import short_head
from fastdraft_core.training.stop import Interrupted, Stop

if TYPE_CHECKING:
    from fastdraft_core.data.mixtures import Mixture
    from fastdraft_core.training.losses import Sparse

_EVENT_SECONDS = 2.0
_EVALUATION_ROWS = 64
#: Evaluations of a stage at most, and the share of its time that they may take at most, as its inverse.
_EVALUATIONS = 20

Optimizers = list[torch.optim.Optimizer]


@dataclass(slots=True)
class StageRun:
    """Everything one stage needs; ``held_out`` maps a source to rows that training never sees.

    ``references`` gives, for a draft, its target's probabilities on some of the held-out rows.
    ``stop`` is asked before every step.
    """

    name: str
    stage: Stage
    model: Any
    tokenizer: Any
    mixture: Mixture
    held_out: dict[str, Mixture]
    folder: Path
    accelerator: Any
    compile: bool
    checkpoint_seconds: float
    references: Callable[[], dict[str, Reference]] = dict
    stop: Stop = field(default_factory=Stop)


class LossModule(torch.nn.Module):
    """A model under the loss of its stage: one module, so that DDP and torch.compile see all of it."""

    def __init__(self, model: Any, kind: str) -> None:
        super().__init__()
        self.model, self.kind = model, kind

    def forward(
        self,
        ids: torch.Tensor,
        mask: torch.Tensor,
        sparse: Sparse | None = None,
        positions: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Summed loss in nats over the masked-in next tokens of ``ids`` [rows, length + 1]."""
        return next_token_loss(self.model, ids, mask, self.kind, sparse, positions=positions)


def train_stage(run: StageRun) -> Iterator[Event]:
    """Train one stage from its last checkpoint, or from the model as given.

    Raises:
        FastdraftError: the loss is not a number, a checkpoint does not fit or cannot be written, data is gone.
        Interrupted: ``run.stop`` asked for it; a checkpoint is written.
    """
    stage, model, started = run.stage, run.model, time.perf_counter()
    peak, steps = peak_learning_rate(stage, model.config.get_text_config().hidden_size), num_steps(stage)
    optimizers = make_optimizers(model, stage, peak)
    first, best, judged = _restore(run, optimizers)
    if first == steps and judged:
        return
    references = run.references()
    interval = evaluation_interval(run, references)
    module = prepare_module(run)
    meter = _meter(run, first, steps)
    yield StageStarted(
        stage=run.name,
        step=first,
        num_steps=steps,
        tokens_per_step=tokens_per_step(stage),
        parameters=sum(p.numel() for p in model.parameters()),
        matrix_peak=meter.matrix_peak,
    )
    if not judged:
        best = yield from _judge(run, optimizers, references, first, best)
        meter.leave_out_until_now()
    saved, saved_step = time.perf_counter(), first
    for step in range(first, steps):
        try:
            loss, wait = _gradients(run, module, step)
        except Interrupted:
            if step > saved_step:
                yield _save(run, optimizers, step, best)
            raise
        rate = learning_rate(stage, peak, step, steps)
        norm = _update(run, optimizers, loss, rate, step)
        meter.add(wait)
        now, judging = time.perf_counter(), step + 1 == steps or (step + 1) % interval == 0
        # The first process's clock decides, so that all save at the same step.
        saving = _decided(run, now - saved >= run.checkpoint_seconds) or judging
        # A checkpoint's time does not count, so what was measured before it must be told before it.
        if saving or now - meter.reported >= _EVENT_SECONDS:
            yield meter.event(loss, rate, norm)
        if judging:
            best = yield from _judge(run, optimizers, references, step + 1, best)
        elif saving:
            yield _save(run, optimizers, step + 1, best)
        if saving:
            saved, saved_step = time.perf_counter(), step + 1
            meter.leave_out_until_now()
    yield StageFinished(stage=run.name, tokens=steps * tokens_per_step(stage), seconds=time.perf_counter() - started)


def evaluation_interval(run: StageRun, references: dict[str, Reference]) -> int:
    """Steps between two evaluations; the stage's last step has one too.

    A twentieth of the stage, or more where an evaluation would cost over a twentieth of the time: one token that is only
    read counts a third of one that is trained on. The clock has no part in it, so the same recipe finds the same ``best``.
    """
    steps, length = num_steps(run.stage), run.stage.sequence_length
    read = sum(min(_EVALUATION_ROWS, mixture.num_rows) * length for mixture in run.held_out.values())
    read += sum(reference.ids.numel() for reference in references.values())
    return max(1, -(-steps // _EVALUATIONS), -(-_EVALUATIONS * read // (3 * tokens_per_step(run.stage))))


def _judge(
    run: StageRun, optimizers: Optimizers, references: dict[str, Reference], step: int, best: float
) -> Generator[Event, None, float]:
    """Evaluate and save. Returns the best acceptance so far; an evaluation that is broken off is made up for later."""
    try:
        evaluated = evaluate(run, references, step)
    except Interrupted:
        yield _save(run, optimizers, step, best, judged=False)
        raise
    yield evaluated
    reached = _weighted(run.stage, evaluated.acceptance) if references else -1.0
    yield _save(run, optimizers, step, max(best, reached), reached, is_best=reached > best)
    return max(best, reached)


def prepare_module(run: StageRun) -> Any:
    """The model under its loss: compiled, and with its gradients averaged over processes, where asked."""
    if run.stage.activation_checkpointing:
        run.model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    module: Any = LossModule(run.model, run.stage.loss)
    return run.accelerator.prepare_model(torch.compile(module) if run.compile else module)


@torch.no_grad()
def evaluate(run: StageRun, references: dict[str, Reference], step: int) -> Evaluated:
    """Held-out cross-entropy (its exponential is the perplexity) and, for a draft, expected acceptance, by source.

    Raises:
        Interrupted: ``run.stop`` asked for it meanwhile.
    """
    run.model.eval()
    with droppable(run), _memory(run), mixed_precision(run.accelerator.device):
        losses = {source: _held_out_loss(run, mixture) for source, mixture in run.held_out.items()}
        acceptance = {source: expected_acceptance(run.model, r) for source, r in references.items()}
        texts = {source: r.texts for source, r in references.items() if r.texts is not None}
        accepted = {source: accepted_share(run.model, found) for source, found in texts.items()}
    setting = [(found.gamma, found.sampling.temperature) for found in texts.values()]
    gamma, temperature = setting[0] if setting else (0, 0.0)
    short = short_head(run.model) is not None
    return Evaluated(
        stage=run.name,
        step=step,
        loss=losses,
        acceptance=acceptance,
        accepted=accepted,
        gamma=gamma,
        temperature=temperature,
        coverage={source: coverage(run, mixture) for source, mixture in run.held_out.items()} if short else {},
    )


def _held_out_loss(run: StageRun, mixture: Mixture) -> float:
    summed, count = 0.0, 0
    for start in range(0, min(_EVALUATION_ROWS, mixture.num_rows), run.stage.micro_batch):
        stop = min(start + run.stage.micro_batch, _EVALUATION_ROWS, mixture.num_rows)
        batch = read_held_out(run, mixture, start, stop)
        summed += float(next_token_loss(run.model, batch.ids, batch.mask, positions=batch.positions))
        count += int(batch.mask[:, 1:].sum())
    return summed / max(1, count)


def _gradients(run: StageRun, module: Any, step: int) -> tuple[float, float]:
    """The loss of a step, its gradients in the weights, and the seconds waited for data."""
    # Torch's own stream, for a model with dropout: the same after a resume.
    torch.manual_seed((run.mixture.seed * 1_000_003 + step) % (1 << 64))
    problem, data = "", None
    try:
        data = read_step(run, step, rows_per_step(run.stage))
    except FastdraftError as error:
        problem = error.message
    agree(run.accelerator, problem, stop=run.stop.requested)
    assert data is not None
    with droppable(run), _memory(run):
        return gradients(run, module, data), data.seconds


def _update(run: StageRun, optimizers: Optimizers, loss: float, rate: float, step: int) -> float:
    try:
        with _memory(run):
            return update(run, optimizers, loss, rate)
    except FloatingPointError as error:
        raise FastdraftError(
            f"The loss of stage {run.name} {error} at step {step + 1}. The last good checkpoint is intact in {run.folder}; "
            f"lower {run.name}.learning_rate (it was {rate:.2g}) and run again."
        ) from None


def _memory(run: StageRun) -> contextlib.AbstractContextManager[None]:
    """Says what to lower where a step does not fit into the memory."""
    stage, name = run.stage, run.name
    ways = [f"lower {name}.micro_batch (it is {stage.micro_batch})"] if stage.micro_batch > 1 else []
    if not stage.activation_checkpointing:
        ways.append(f"set {name}.activation_checkpointing = true")
    advice = " or ".join(ways or ["train a smaller [model], or free some memory"])
    return memory_for(
        f"a step of stage {name} on {run.accelerator.device}",
        f"{advice[0].upper()}{advice[1:]}, and run again: the job goes on from its last checkpoint.",
    )


def droppable(run: StageRun) -> contextlib.AbstractContextManager[None]:
    """Work to break off at once when somebody asks; several processes finish the step, or one would wait for ever."""
    return run.stop.droppable() if run.accelerator.num_processes == 1 else contextlib.nullcontext()


def _decided(run: StageRun, yes: bool) -> bool:
    return bool(total(run.accelerator, float(yes and run.accelerator.is_main_process))[0])


def _meter(run: StageRun, first: int, steps: int) -> Meter:
    accelerator = run.accelerator
    return Meter(
        stage=run.name,
        step=first,
        num_steps=steps,
        tokens_per_step=tokens_per_step(run.stage),
        flops_per_token=flops_per_token(run.model, run.stage.sequence_length),
        matrix_peak=accelerator.num_processes * matrix_peak(accelerator.device),
        device=accelerator.device,
    )


def _weighted(stage: Stage, values: dict[str, float]) -> float:
    """The mean of ``values`` by the weights of the stage's sources."""
    return sum(stage.sources[s] * v for s, v in values.items()) / sum(stage.sources[s] for s in values)


def _save(
    run: StageRun,
    optimizers: Optimizers,
    step: int,
    best: float,
    reached: float = -1.0,
    *,
    is_best: bool = False,
    judged: bool = True,
) -> Event:
    """Write ``last``, and ``best`` where this is the best so far; the first process writes, all leave if it cannot."""
    problem = ""
    if run.accelerator.is_main_process:
        try:
            if is_best:
                save_checkpoint(run.folder / "best", run.model, run.tokenizer, None)
            state = optimizer_state(run.model, optimizers)
            held_out = _checksums(*run.held_out.values())
            trainer = Trainer(step, best, state, _checksums(run.mixture), reached, held_out, judged)
            save_checkpoint(run.folder / "last", run.model, run.tokenizer, trainer)
        except FastdraftError as error:
            problem = error.message
    agree(run.accelerator, problem)
    return Checkpointed(stage=run.name, step=step, path=str(run.folder / "last"))


def _restore(run: StageRun, optimizers: Optimizers) -> tuple[int, float, bool]:
    """Load weights and optimizers of the last checkpoint; steps done, best acceptance so far, no evaluation outstanding."""
    folder = find_checkpoint(run.folder / "last")
    if folder is None:
        return 0, -1.0, True
    trainer = load_trainer(folder)
    if trainer.step < num_steps(run.stage):
        _refuse_other_data(run, trainer)
    load_weights(run.model, folder)
    restore_optimizers(run.model, optimizers, trainer.tensors)
    return trainer.step, trainer.best, trainer.judged


def _refuse_other_data(run: StageRun, trainer: Trainer) -> None:
    """Row n of a stage is the same row for ever, or what was read before and what comes now are two trainings."""
    found = _checksums(run.mixture)
    changed = [source for source, digest in trainer.shards.items() if found.get(source) != digest]
    if changed:
        raise FastdraftError(
            f"Stage {run.name} cannot go on: the tokens of {', '.join(changed)} are not those that it was trained on until "
            f"step {trainer.step} (files, tokenizer or target changed meanwhile). Put them back, or delete {run.folder} to "
            "start the stage again."
        )


def _checksums(*mixtures: Mixture) -> dict[str, str]:
    return {shard.index.source: shard.index.sha256 for mixture in mixtures for shard in mixture.shards}


class Batch(NamedTuple):
    """Ids and loss mask ``[rows, length + 1]``; the target's probabilities and positions where the stage asks for them."""

    ids: torch.Tensor
    mask: torch.Tensor
    sparse: Sparse | None
    positions: torch.Tensor | None


@dataclass(slots=True)
class StepBatches:
    """The micro-batches of this process in one step, the tokens that count in them, and the seconds that reading took."""

    batches: list[Batch]
    counted: int
    seconds: float


def read_step(run: StageRun, step: int, rows: int) -> StepBatches:
    """This process's share of the ``rows`` rows of optimizer step ``step``.

    Raises:
        FastdraftError: a file of the data is gone or was cut short.
    """
    begin, accelerator, first = time.perf_counter(), run.accelerator, step * rows
    _refuse_vanished(run.mixture)
    shares, size = row_shares(rows, accelerator.num_processes, accelerator.process_index, run.stage.micro_batch)
    batches, counted = [], 0
    for share in shares:
        # A process without rows of its own still takes part, with one that counts nothing.
        start = first + max(0, min(share.start, share.stop - 1))
        batch = _rows(run, run.mixture, start, max(first + share.stop, start + 1), size, len(share))
        counted += int(batch.mask[:, 1:].sum())
        batches.append(_to(batch, accelerator.device))
    return StepBatches(batches, counted, time.perf_counter() - begin)


def read_held_out(run: StageRun, mixture: Mixture, start: int, stop: int) -> Batch:
    """Rows of a mixture that training never sees; without the target's probabilities.

    Of a model with a draft vocabulary only tokens that are in it count, here and in training.
    """
    ids, mask = mixture.rows(start, stop)
    ids, mask = torch.from_numpy(ids), torch.from_numpy(mask & _scored(run, ids))
    return _to(Batch(ids, mask, None, _positions(run, mixture, start, stop, stop - start)), run.accelerator.device)


def _rows(run: StageRun, mixture: Mixture, start: int, stop: int, size: int, counted: int) -> Batch:
    """Rows ``start`` to ``stop``, filled up to ``size``; only the first ``counted`` of them count."""
    ids, mask = mixture.rows(start, stop)
    mask = mask & _scored(run, ids)
    sparse = None
    if run.stage.loss != "ce":
        top_ids, log_probs = mixture.probabilities(start, stop)
        absent = np.isneginf(log_probs[..., 0])
        log_probs[absent] = 0.0
        mask = mask & ~absent
        sparse = _filled(top_ids, size), _filled(log_probs, size)
    whole = _filled(mask, size)
    whole[counted:] = False
    return Batch(_filled(ids, size), whole, sparse, _positions(run, mixture, start, stop, size))


def coverage(run: StageRun, mixture: Mixture) -> float:
    """The share of the tokens of a mixture that the model's head scores."""
    ids, mask = mixture.rows(0, mixture.num_rows)
    counted = mask[:, 1:]
    return float(_scored(run, ids[:, 1:])[counted].mean()) if counted.any() else 0.0


def _scored(run: StageRun, ids: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Whether the model's head scores each of ``ids``; all of them, unless it has a draft vocabulary."""
    short = short_head(run.model)
    return np.ones(ids.shape, dtype=bool) if short is None else short.scored[ids]


def _positions(run: StageRun, mixture: Mixture, start: int, stop: int, size: int) -> torch.Tensor | None:
    return _filled(mixture.positions(start, stop), size) if run.stage.document_mask else None


def _filled(rows: npt.NDArray[Any], size: int) -> torch.Tensor:
    return torch.from_numpy(np.concatenate([rows, np.repeat(rows[-1:], size - len(rows), axis=0)]))


def _to(batch: Batch, device: torch.device) -> Batch:
    sparse = None if batch.sparse is None else (batch.sparse[0].to(device), batch.sparse[1].to(device))
    positions = None if batch.positions is None else batch.positions.to(device)
    return Batch(batch.ids.to(device), batch.mask.to(device), sparse, positions)


def _refuse_vanished(mixture: Mixture) -> None:
    """Reading a mapped file that was cut short would kill the process without a word."""
    for shard in mixture.shards:
        array = shard.tokens
        if not isinstance(array, np.memmap) or array.filename is None:
            continue
        path = Path(str(array.filename))
        try:
            whole = path.stat().st_size >= array.nbytes
        except OSError:
            whole = False
        if not whole:
            raise FastdraftError(
                f"{path} is gone or was cut short while it was being read. Delete {path.parent} and run the same command "
                "again: the file is made anew, and training goes on from the last checkpoint."
            )


def gradients(run: StageRun, module: Any, data: StepBatches) -> float:
    """Sum the gradients of the step's loss, one mean over the tokens of all processes. Returns that loss in nats."""
    accelerator = run.accelerator
    (counted,) = total(accelerator, data.counted)
    # DDP takes the mean over processes; the loss is a mean over tokens, wherever they lie.
    scale = accelerator.num_processes / max(1.0, counted)
    summed = torch.zeros((), device=accelerator.device)
    module.train()
    for number, batch in enumerate(data.batches):
        last = number + 1 == len(data.batches)
        with contextlib.nullcontext() if last else accelerator.no_sync(module):
            with mixed_precision(accelerator.device):
                loss = module(*batch)
            accelerator.backward(loss * scale)
        summed += loss.detach()
    (loss_sum,) = total(accelerator, float(summed))
    return loss_sum / max(1.0, counted)


def update(run: StageRun, optimizers: list[torch.optim.Optimizer], loss: float, rate: float) -> float:
    """Clip the gradients and take the step. Returns their norm before clipping.

    Raises:
        FloatingPointError: loss or gradient is not finite; the weights are as they were.
    """
    norm = float(torch.nn.utils.clip_grad_norm_(run.model.parameters(), run.stage.clip_norm))
    # A gradient that is not finite would spoil the weights, although this step's loss looks well.
    if not (math.isfinite(loss) and math.isfinite(norm)):
        raise FloatingPointError(f"became {loss} (gradient norm {norm})")
    set_rate(optimizers, rate)
    for optimizer in optimizers:
        optimizer.step()
        optimizer.zero_grad()
    return norm
