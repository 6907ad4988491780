"""Edits of an OpenVINO model before it is compiled, and what a compiled one says of its weights."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

#: What may stand between the head's matrix product and the logits.
_AFTER_HEAD = {"Convert", "Add", "Multiply", "Divide", "Tanh", "Reshape", "Transpose"}
_WEIGHT_TYPES = {"f32", "f16", "bf16", "u8", "i8", "u4", "i4", "nf4"}
_NAMES = {
    "f32": "float32",
    "f16": "float16",
    "bf16": "bfloat16",
    "u8": "int8",
    "i8": "int8",
    "u4": "int4",
    "i4": "int4",
}
_BITS = {"f32": 32, "f16": 16, "bf16": 16, "u8": 8, "i8": 8, "u4": 4, "i4": 4, "nf4": 4, "f8e4m3": 8, "f8e5m2": 8}


def page_attention(model: Any) -> None:
    """Turn a stateful model into one that reads its keys and values from blocks of memory of ours.

    Inputs become flat ``[tokens]``, logits ``[tokens, 1, V]``. Raises ``RuntimeError`` for a model whose attention
    the library does not know; the model is then of no use any more.
    """
    from openvino._offline_transformations import paged_attention_transformation

    paged_attention_transformation(model)


def keep_rows(model: Any, axis: int) -> bool:
    """Give the model an input ``rows``: which tokens (along ``axis``) get logits. False where the head is not found.

    A prompt needs only its last token's logits; for a large vocabulary all of them would take gigabytes.
    """
    from openvino import opset13 as ops

    head = _head(model)
    if head is None:
        return False
    rows = ops.parameter([-1], np.int64, name="rows")
    rows.output(0).get_tensor().set_names({"rows"})
    hidden = head.input_value(0)
    head.input(0).replace_source_output(ops.gather(hidden, rows, ops.constant(axis, np.int64)).output(0))
    model.add_parameters([rows])
    model.validate_nodes_and_infer_types()
    return True


def keep_head_rows(model: Any, ids: Sequence[int]) -> None:
    """Have the head score ``ids`` alone, in this order: logits become ``[..., K]``.

    The weights are cut as they are stored, so a head of integers stays one, and a table that is shared with the embeddings
    stays whole for these. Where the head is not a product with stored rows, its logits are cut instead, which is as right and
    saves nothing.
    """
    from openvino import opset13 as ops

    head = _head(model)
    rows = None if head is None else _kept_rows(model, head, ids)
    if rows is not None:
        head.input(1).replace_source_output(rows.output(0))
    else:
        output = model.output("logits").get_node()
        logits = output.input_value(0)
        kept = ops.gather(logits, ops.constant(np.asarray(ids, np.int64)), ops.constant(-1, np.int64))
        names = logits.get_names()
        logits.get_tensor().set_names(set())
        kept.output(0).get_tensor().set_names(names)
        output.input(0).replace_source_output(kept.output(0))
    model.validate_nodes_and_infer_types()


def _kept_rows(model: Any, head: Any, ids: Sequence[int]) -> Any:
    """The rows ``ids`` of the matrix of ``head``, as a node; None where they cannot be taken out of what is stored."""
    node = model.output("logits").get_node()
    while node is not head and node.get_friendly_name() != head.get_friendly_name():
        # What acts on every logit alike does not mind which ones there are.
        if node.get_type_name() not in {"Result", "Convert", "Tanh"}:
            return None
        node = node.input_value(0).get_node()
    size = head.input_value(1).get_partial_shape()
    if not head.get_attributes()["transpose_b"] or size.rank.get_length() != 2 or not size.is_static:
        return None
    return _rows_of(head.input_value(1).get_node(), size[0].get_length(), np.asarray(ids))


def _rows_of(node: Any, size: int, ids: npt.NDArray[np.int64]) -> Any:
    """``node``, made anew over the rows ``ids`` of all stored tensors of ``size`` rows; None for an unknown operation."""
    from openvino import opset13 as ops

    kind = node.get_type_name()
    if kind == "Constant":
        return _constant_rows(node, ids) if list(node.get_output_shape(0))[:1] == [size] else node
    parts = [_rows_of(value.get_node(), size, ids) for value in node.input_values()]
    if any(part is None for part in parts):
        return None
    if kind == "Convert":
        made = ops.convert(parts[0], node.get_output_element_type(0).get_type_name())
    elif kind in ("Multiply", "Subtract"):
        made = (ops.multiply if kind == "Multiply" else ops.subtract)(*parts)
    else:
        return None
    # Marks such as that of a decompression keep the device from unpacking the weights.
    for name, mark in node.get_rt_info().items():
        made.set_rt_info(mark, name)
    return made


def _constant_rows(node: Any, ids: npt.NDArray[np.int64]) -> Any:
    import openvino as ov

    shape, stored = list(node.get_output_shape(0)), np.asarray(node.data)
    if stored.nbytes != node.get_byte_size() or stored.nbytes % shape[0]:
        return None
    # By bytes: numpy has no type for bfloat16 nor for what is packed.
    taken = np.ascontiguousarray(stored).reshape(-1).view(np.uint8).reshape(shape[0], -1)[ids]
    tensor = ov.Tensor(node.get_element_type(), [len(ids), *shape[1:]])
    np.asarray(tensor.data).reshape(-1).view(np.uint8)[:] = taken.reshape(-1)
    return ov.op.Constant(tensor)


def count_parameters(model: Any) -> int:
    """Weights in the model; scales and zero points of compressed ones are not counted."""
    shapes = (list(node.get_output_shape(0)) for node in _constants(model))
    return sum(math.prod(shape) for shape in shapes if shape and shape[-1] > 1)


def weights_read(compiled: Any) -> tuple[int, str]:
    """Bytes of weights that one token reads, and the dtype most of them have; (0, "") where the device does not tell.

    Taken from the graph that runs, after the device has chosen its formats. A table from which a token reads one
    row is not counted, unless the head shares it.
    """
    total: dict[str, int] = {}
    with contextlib.suppress(RuntimeError):
        for node in compiled.get_runtime_model().get_ordered_ops():
            if _kind(node) != "Const" or _only_looked_up(node):
                continue
            dtype = str(node.get_rt_info()["outputPrecisions"].astype(str))
            shape = node.get_output_partial_shape(0)
            if dtype in _BITS and shape.is_static:
                elements = math.prod(dim.get_length() for dim in shape)
                total[dtype] = total.get(dtype, 0) + elements * _BITS[dtype] // 8
    if not total:
        return 0, ""
    most = max(total, key=lambda dtype: total[dtype])
    return sum(total.values()), _NAMES.get(most, most)


def _only_looked_up(constant: Any) -> bool:
    readers = [_kind(reader.get_node()) for reader in constant.output(0).get_target_inputs()]
    return all(reader.startswith("Gather") for reader in readers)


def _kind(node: Any) -> str:
    return str(node.get_rt_info()["layerType"].astype(str))


def _constants(model: Any) -> Iterator[Any]:
    for node in model.get_ops():
        if node.get_type_name() == "Constant" and node.get_element_type().get_type_name() in _WEIGHT_TYPES:
            yield node


def _head(model: Any) -> Any:
    """The matrix product that makes the logits."""
    node = model.output("logits").get_node()
    while node.get_type_name() in {"Result", *_AFTER_HEAD}:
        node = node.input_value(0).get_node()
    return node if node.get_type_name() == "MatMul" else None
