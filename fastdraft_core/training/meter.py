"""What the events of a running stage say beside its loss: speed, waiting, utilisation, memory, time left."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import psutil
import torch

from fastdraft_core.events import Step


@dataclass(slots=True)
class Meter:
    """Counts steps since the last event; ``step`` are done. ``matrix_peak`` is the measured one of all processes."""

    stage: str
    step: int
    num_steps: int
    tokens_per_step: int
    flops_per_token: float
    matrix_peak: float
    device: torch.device
    reported: float = field(default_factory=time.perf_counter)
    _first: int = field(init=False)
    _begin: float = field(init=False)
    _reported_step: int = field(init=False)
    _waited: float = 0.0

    def __post_init__(self) -> None:
        self._first = self._reported_step = self.step
        self._begin = self.reported

    def add(self, waited: float) -> None:
        """A step is done, after ``waited`` seconds for its data."""
        self.step += 1
        self._waited += waited

    def leave_out_until_now(self) -> None:
        """Time that no step took, such as a checkpoint's, does not count against the speed."""
        self.reported = max(self.reported, time.perf_counter())

    def event(self, loss: float, rate: float, norm: float) -> Step:
        """The figures of the steps since the last call."""
        now = time.perf_counter()
        seconds = max(1e-9, now - self.reported)
        speed = (self.step - self._reported_step) * self.tokens_per_step / seconds
        # The whole run's pace, evaluations and checkpoints included.
        pace = (now - self._begin) / max(1, self.step - self._first)
        event = Step(
            stage=self.stage,
            step=self.step,
            num_steps=self.num_steps,
            tokens=self.step * self.tokens_per_step,
            loss=loss,
            learning_rate=rate,
            gradient_norm=norm,
            tokens_per_second=speed,
            data_wait_share=min(1.0, self._waited / seconds),
            utilisation=speed * self.flops_per_token / self.matrix_peak,
            memory=used_memory(self.device),
            seconds_left=pace * (self.num_steps - self.step),
        )
        self.reported, self._reported_step, self._waited = now, self.step, 0.0
        return event


def used_memory(device: torch.device) -> int:
    """Bytes that this process holds now on ``device``: a CPU's resident memory, else the peak of what torch took."""
    if device.type == "cpu":
        return int(psutil.Process().memory_info().rss)
    backend: Any = getattr(torch, device.type)
    return int(backend.max_memory_allocated())
