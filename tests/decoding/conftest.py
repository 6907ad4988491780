"""A table as a model, on every runtime with a cache: the same tests decode with all of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest

from fastdraft_core.runtimes.base import Runtime
from tests.decoding.table import Array, TableRuntime, random_table
from tests.decoding.table_model import CONTEXT, rows_of, table_model
from tests.runtimes.every import EXACT, ir_folder

OfTable = Callable[..., Runtime]
Tables = Callable[..., tuple[Runtime, Runtime]]
Sized = Callable[..., int]


@pytest.fixture(params=["table", "openvino", "stateful"])
def of_table(request: pytest.FixtureRequest) -> OfTable:
    """Makes a runtime that says what a table ``[V, V, V]`` says: without a cache, or with OpenVINO's two.

    What one test has used, the next one uses again, as a pair is used for the next prompt.
    """
    if request.param == "table":
        return TableRuntime
    asked: Counter[bytes] = Counter()

    def on_openvino(table: Array, context_length: int = CONTEXT, head_ids: tuple[int, ...] | None = None) -> Runtime:
        key = table.tobytes()
        asked[key] += 1
        runtime = _openvino(key, len(table), request.param == "openvino", asked[key], head_ids)
        runtime.context_length = context_length
        return runtime

    return on_openvino


@pytest.fixture
def tables(of_table: OfTable) -> Tables:
    """``pair_of_tables`` on that runtime; the target's is ``random_table(vocab_size, seed)``."""

    def pair(vocab_size: int = 5, seed: int = 0) -> tuple[Runtime, Runtime]:
        target = random_table(vocab_size, seed)
        return of_table(target), of_table(target + random_table(vocab_size, seed + 1, 1.2))

    return pair


@pytest.fixture
def sized(of_table: OfTable) -> Sized:
    """How many draws a runtime with real passes makes where a table makes so many; noise levels follow the size."""
    return lambda draws, share=5: draws if of_table is TableRuntime else draws // share


@cache
def _openvino(table: bytes, size: int, paged: bool, number: int, head_ids: tuple[int, ...] | None) -> Runtime:
    """The ``number``-th runtime of this table. One conversion serves all tables of a size: the others have other weights in the same graph."""
    import openvino as ov
    from openvino import opset13 as ops

    from fastdraft_core.runtimes.openvino.loading import load_ir

    source = _any_table(size)
    model = ov.Core().read_model(source / "openvino_model.xml")
    old: Any = next(
        n for n in model.get_ops() if n.get_type_name() == "Constant" and "down_proj" in n.get_friendly_name()
    )
    rows = rows_of(np.frombuffer(table).reshape((size,) * 3))
    new = ops.constant(rows.numpy())
    for reader in old.output(0).get_target_inputs():
        reader.replace_source_output(new.output(0))
    with TemporaryDirectory() as folder:
        ov.save_model(model, Path(folder) / "openvino_model.xml", compress_to_fp16=False)
        (Path(folder) / "config.json").write_bytes((source / "config.json").read_bytes())
        return load_ir(Path(folder), "table", size, EXACT, paged=paged, head_ids=head_ids)


@cache
def _any_table(size: int) -> Path:
    return ir_folder(table_model(random_table(size, 0)))
