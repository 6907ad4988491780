"""What every test of training leaves behind: nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from fastdraft_core.training import loop, processes

#: As they are before ``tiny_run`` has trainings compute in float32 and report every step.
_REAL = processes.choose_dtype, loop._EVENT_SECONDS


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """A later test compares what this process does with what another one does, which computes as a user's does.

    A job that ran in this process had the environment show its own device alone.
    """
    environment = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(environment)
    processes.choose_dtype, loop._EVENT_SECONDS = _REAL
