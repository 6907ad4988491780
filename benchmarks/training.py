"""Training speed against peers: ``python benchmarks/training.py [MODEL] [--rows 4] [--length 256] [--steps 2]``.

The same model, random tokens and number format, taking turns on the same cores: our loop's step (AdamW, and Muon beside
torch's own Muon) and the transformers Trainer's, in a process of its own, as whoever uses it has it: what ours tells the
memory allocator holds for a whole process. Then our loop by torchrun with one process and with two, a core each.
Prints a table and, last, one JSON line.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

# A neighbour of this file has the name of a library: this folder comes last where modules are looked for.
sys.path.sort(key=lambda entry: Path(entry).resolve() == Path(__file__).resolve().parent)

import msgspec
import torch
from transformers import AutoConfig, PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from fastdraft_core.machine.devices import choose_threads, machine_card
from fastdraft_core.models.catalog import resolve
from fastdraft_core.training.architecture import new_model
from fastdraft_core.training.flops import flops_per_token
from fastdraft_core.training.loop import StageRun, gradients, prepare_module, read_step, update
from fastdraft_core.training.matrix_peak import matrix_peak
from fastdraft_core.training.optimizers import make_optimizers
from fastdraft_core.training.plan import RandomRows
from fastdraft_core.training.processes import make_accelerator, training_attention, training_dtype
from fastdraft_core.training.recipe import Stage, rows_per_step, tokens_per_step

_RATE = 1e-4
#: Trains for so many steps; returns the seconds of each.
Contender = Callable[[int], list[float]]
#: In the process of the Trainer: itself.
_prepared: list[Contender] = []


def main() -> None:
    """Run every contender, one after the other, in turns."""
    asked = _arguments()
    stage = _stage(asked)
    if "RANK" in os.environ:
        _one_of_several(asked, stage)
        return
    accelerator, config = make_accelerator(), AutoConfig.from_pretrained(resolve(asked.model))
    contenders = {
        "fastdraft, AdamW": ours(config, msgspec.structs.replace(stage, optimizer="adamw"), accelerator),
        "fastdraft, AdamW, compiled": ours(
            config, msgspec.structs.replace(stage, optimizer="adamw"), accelerator, compiled=True
        ),
        "transformers Trainer, AdamW": theirs_elsewhere(config, stage),
        "fastdraft, Muon": ours(config, stage, accelerator),
        "fastdraft, torch's Muon": ours(config, stage, accelerator, torchs_muon=True),
    }
    for contender in contenders.values():
        contender(1)
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(asked.repeats):
        for name in list(contenders)[:: 1 if turn % 2 == 0 else -1]:
            seconds[name] += contenders[name](asked.steps)
    tokens, model = tokens_per_step(stage), new_model(config, seed=1, attention="sdpa")
    rates = {name: tokens / statistics.median(found) for name, found in seconds.items()}
    peak, flops = matrix_peak(accelerator.device), flops_per_token(model, stage.sequence_length)
    dtype = str(training_dtype(accelerator.device.type)).removeprefix("torch.")
    print(f"{asked.model}: {sum(p.numel() for p in model.parameters()):,} parameters, {dtype}, {tokens} tokens a step")
    for name, rate in rates.items():
        print(f"{name:<30}{rate:>10,.0f} tokens/s{rate * flops / peak:>8.0%} of {peak / 1e9:,.0f} GFLOP/s, measured")
    ratios = {
        "AdamW, over the Trainer": _ratio(seconds, "fastdraft, AdamW", "transformers Trainer, AdamW"),
        "compiled, over the Trainer": _ratio(seconds, "fastdraft, AdamW, compiled", "transformers Trainer, AdamW"),
        "Muon, over torch's Muon": _ratio(seconds, "fastdraft, Muon", "fastdraft, torch's Muon"),
    }
    if asked.processes:
        several = {count: _several(count) for count in (1, 2)}
        rates |= {f"fastdraft, Muon, {count} processes": rate for count, rate in several.items()}
        ratios["two processes over one"] = several[2] / several[1]
    for what, ratio in ratios.items():
        print(f"{what:<30}{ratio:>10.2f}x")
    result = {"tokens_per_second": rates, "ratios": ratios, "matrix_peak": peak, "tokens_per_step": tokens}
    print(json.dumps({"benchmark": "training", **result, "machine": msgspec.to_builtins(machine_card())}))


def ours(
    config: Any, stage: Stage, accelerator: Any, *, compiled: bool = False, torchs_muon: bool = False
) -> Contender:
    """The loop's own step, on random rows; ``torchs_muon`` has torch.optim.Muon in the place of ours."""
    attention = training_attention(accelerator.device, compiled=compiled)
    model = new_model(config, seed=1, attention=attention).to(accelerator.device)
    rows: Any = RandomRows(stage, config.vocab_size)
    run = StageRun("benchmark", stage, model, None, rows, {}, Path(), accelerator, compiled, 0.0)
    module, optimizers = prepare_module(run), make_optimizers(model, stage, _RATE)
    if torchs_muon:
        matrices = optimizers[1].param_groups[0]["params"]
        optimizers[1] = torch.optim.Muon(matrices, lr=_RATE, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")

    def train(steps: int) -> list[float]:
        seconds = []
        for _ in range(steps):
            begin = time.perf_counter()
            data = read_step(run, 0, rows_per_step(stage))
            update(run, optimizers, gradients(run, module, data), _RATE)
            seconds.append(time.perf_counter() - begin)
        return seconds

    return train


class _Clock(TrainerCallback):
    """The seconds of every step of a Trainer."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self._begin = time.perf_counter()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.seconds.append(time.perf_counter() - self._begin)


def theirs_elsewhere(config: Any, stage: Stage) -> Contender:
    """``theirs`` in a process of its own, which lives on between turns."""
    pool = ProcessPoolExecutor(1, get_context("spawn"), _prepare, (config, stage))
    return lambda steps: pool.submit(_train, steps).result()


def _prepare(config: Any, stage: Stage) -> None:
    torch.set_num_threads(choose_threads())
    _prepared.append(theirs(config, stage))


def _train(steps: int) -> list[float]:
    return _prepared[0](steps)


def theirs(config: Any, stage: Stage) -> Contender:
    """The Trainer with fused AdamW at the same micro-batch, accumulation, clipping and format."""
    model = new_model(config, seed=1, attention="sdpa")
    ids = torch.randint(config.vocab_size, (4096, stage.sequence_length))
    data = [{"input_ids": row, "labels": row} for row in ids]

    def train(steps: int) -> list[float]:
        clock = _Clock()
        with tempfile.TemporaryDirectory() as folder:
            arguments = TrainingArguments(
                output_dir=folder,
                max_steps=steps,
                per_device_train_batch_size=stage.micro_batch,
                gradient_accumulation_steps=rows_per_step(stage) // stage.micro_batch,
                optim="adamw_torch_fused",
                bf16=training_dtype("cpu") == torch.bfloat16,
                use_cpu=not torch.cuda.is_available(),
                learning_rate=_RATE,
                max_grad_norm=1.0,
                report_to=[],
                save_strategy="no",
                disable_tqdm=True,
                logging_strategy="no",
            )
            trainer = Trainer(model=model, args=arguments, train_dataset=data, callbacks=[clock])  # type: ignore[arg-type]
            trainer.remove_callback(PrinterCallback)
            trainer.train()
        return clock.seconds

    return train


def _one_of_several(asked: argparse.Namespace, stage: Stage) -> None:
    accelerator = make_accelerator()
    train = ours(AutoConfig.from_pretrained(resolve(asked.model)), stage, accelerator)
    train(1)
    seconds = statistics.median(train(asked.steps))
    if accelerator.is_main_process:
        print(f"RATE {tokens_per_step(stage) / seconds}")


def _several(count: int) -> float:
    """Tokens/s of our loop by torchrun, one thread a process, so that the second process brings a second core."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, str(Path(__file__)), *sys.argv[1:]], env=environment, capture_output=True, text=True, check=True
    )
    return float(next(line for line in done.stdout.splitlines() if line.startswith("RATE")).split()[1])


def _ratio(seconds: dict[str, list[float]], a: str, b: str) -> float:
    """Median over steps, paired in time, of how many times ``a`` is faster than ``b``."""
    return statistics.median(y / x for x, y in zip(seconds[a], seconds[b], strict=True))


def _stage(asked: argparse.Namespace) -> Stage:
    tokens = asked.rows * asked.length
    return Stage(
        tokens=tokens, sources={}, sequence_length=asked.length, batch_tokens=tokens, micro_batch=asked.micro_batch
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", default="demo", help="only its configuration is used")
    parser.add_argument("--rows", type=int, default=16, help="rows a step")
    parser.add_argument("--micro-batch", type=int, default=8)
    parser.add_argument("--length", type=int, default=512, help="tokens a row")
    parser.add_argument("--steps", type=int, default=3, help="steps a turn")
    parser.add_argument("--repeats", type=int, default=3, help="turns of every contender")
    parser.add_argument("--no-processes", dest="processes", action="store_false", help="leave torchrun out")
    return parser.parse_args()


if __name__ == "__main__":
    main()
