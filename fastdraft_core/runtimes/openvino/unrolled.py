"""A draft's steps unrolled into one graph, so that one call writes a whole block.

Step by step, every token costs a call, and the step after a fully accepted block reads two tokens, for which OpenVINO
prepares its passes anew. Here the first step always reads the last two tokens (of which the cache may hold the first
already: it is overwritten with itself), every other step the token that the one before chose, so all shapes are fixed.
The steps share weights and cache; each waits for the token before it, so none reads an entry that is not yet there.

A token is drawn in integers: its probability in units of 2**-30, cut off, and a given point in [0, 2**30) that falls into
its share of the running sum. Points beyond the sum take the most probable token. So the law of the draw is known exactly,
whatever the rounding of the probabilities, and a verdict on it loses nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from fastdraft_core.runtimes.base import BLOCK_READS, POINTS

#: Less than one part in POINTS, so that probabilities which sum up to a little more than 1 still fit.
_SCALE = POINTS * (1 - 2**-16)
#: The inputs that later steps share with the first.
_COMMON = ("key_cache.", "value_cache.", "block_indices")


def unroll(model: Any, steps: int, vocab_size: int, *, greedy: bool, head_ids: Sequence[int] | None = None) -> Any:
    """``steps`` steps of ``model``, which ``page_attention`` and ``keep_rows`` have been through; it is left as it was.

    Outputs: ``tokens`` [steps] and ``logits`` [steps, vocab_size]; where tokens are drawn also ``shares``
    [steps, vocab_size], how many of ``POINTS`` a token has, and ``likeliest`` [steps]. Drawing takes the inputs ``points``
    [steps] and ``inverse_temperature``. With ``head_ids`` the model scores these K ids alone: ``vocab_size`` is then K
    everywhere, ``likeliest`` a column among them, and ``tokens`` are ids.
    """
    import openvino as ov

    if head_ids is not None:
        vocab_size = len(head_ids)
    builder = _Builder(model.clone(), steps, vocab_size, greedy=greedy, head_ids=head_ids)
    for _ in range(steps - 1):
        builder.follow(model.clone())
    unrolled = ov.Model(builder.results(), builder.inputs(), "unrolled")
    unrolled.validate_nodes_and_infer_types()
    return unrolled


class _Builder:
    """The steps so far: ``first`` is the graph of the first one, into which the others are joined."""

    def __init__(
        self, first: Any, steps: int, vocab_size: int, *, greedy: bool, head_ids: Sequence[int] | None
    ) -> None:
        import openvino as ov
        from openvino import opset13 as ops

        self._ops = ops
        self._vocab_size = vocab_size
        self._greedy = greedy
        self._head_ids = None if head_ids is None else self._int64(head_ids)
        self._inputs = _named(first)
        self._constants = _constants(first)
        self._outputs: dict[str, list[Any]] = {}
        self._drawing: list[Any] = []
        if not greedy:
            self._points = self._input("points", [steps], np.int32)
            self._inverse_temperature = self._input("inverse_temperature", [1], np.float32)
            self._drawing = [self._points, self._inverse_temperature]
        for name, size in (
            ("input_ids", BLOCK_READS),
            ("position_ids", BLOCK_READS),
            ("past_lens", 1),
            ("subsequence_begins", 2),
        ):
            if name in self._inputs:
                self._inputs[name].set_partial_shape(ov.PartialShape([size]))
        self._give_rows(self._inputs, [BLOCK_READS - 1])
        self._choose(first.output("logits").get_node().input_value(0))

    def follow(self, step: Any) -> None:
        """Join one more step, which reads the token chosen last."""
        ops, number, own = self._ops, len(self._outputs["tokens"]), _named(step)
        for name, constant in _constants(step).items():
            original = self._constants.get(name)
            if original is not None and original.get_output_shape(0) == constant.get_output_shape(0):
                constant.output(0).replace(original.output(0))
        read = BLOCK_READS - 1 + number
        given = {
            "input_ids": self._outputs["tokens"][-1],
            "past_lens": ops.add(self._inputs["past_lens"], self._int32([read])),
            "max_context_len": ops.add(self._inputs["max_context_len"], self._int32(number)),
            "subsequence_begins": self._int32([0, 1]),
        }
        if "position_ids" in own:
            last = ops.gather(self._inputs["position_ids"], self._int64([BLOCK_READS - 1]), self._int64(0))
            given["position_ids"] = ops.add(last, self._int64([number]))
        given |= {name: self._inputs[name] for name in own if name.startswith(_COMMON)}
        for name, node in given.items():
            own[name].output(0).replace(node.output(0))
        self._give_rows(own, [0])
        unknown = sorted(set(own) - set(given))
        if unknown:
            raise RuntimeError(f"inputs that cannot be unrolled: {', '.join(unknown)}")
        self._choose(step.output("logits").get_node().input_value(0))

    def results(self) -> list[Any]:
        """The outputs of all steps, one above the other."""
        found = []
        for name, rows in self._outputs.items():
            joined = self._ops.concat(rows, 0)
            joined.output(0).set_names({name})
            found.append(self._ops.result(joined))
        return found

    def inputs(self) -> list[Any]:
        """What the caller gives."""
        return [*self._inputs.values(), *self._drawing]

    def _choose(self, logits: Any) -> None:
        """The token of a step from the logits after its last token; all that is told of it becomes an output."""
        ops, number = self._ops, len(self._outputs.get("tokens", ()))
        rows = ops.reshape(logits, self._int64([-1, logits.get_partial_shape()[-1].get_length()]), False)
        # Without an input for rows there are logits of every token that was read.
        last = ops.gather(rows, self._int64([-1]), self._int64(0))
        known = ops.slice(last, self._int64([0]), self._int64([self._vocab_size]), self._int64([1]), self._int64([1]))
        row = ops.reshape(known, self._int64([self._vocab_size]), False)
        best = self._single(ops.topk(row, self._int64(1), 0, "max", "none", "i64").output(1))
        chosen, told = best, {"logits": known}
        if not self._greedy:
            shares = self._shares(row)
            chosen = self._drawn(shares, best, number)
            told |= {"likeliest": best, "shares": ops.unsqueeze(shares, self._int64(0))}
        # Columns of a short head are not ids yet.
        told["tokens"] = chosen if self._head_ids is None else ops.gather(self._head_ids, chosen, self._int64(0))
        for name, node in told.items():
            self._outputs.setdefault(name, []).append(node)

    def _shares(self, row: Any) -> Any:
        ops = self._ops
        probabilities = ops.softmax(ops.multiply(row, self._inverse_temperature), 0)
        return ops.convert(ops.multiply(probabilities, ops.constant(np.array([_SCALE], np.float32))), "i32")

    def _drawn(self, shares: Any, best: Any, number: int) -> Any:
        ops = self._ops
        point = ops.gather(self._points, self._int64([number]), self._int64(0))
        passed = ops.convert(ops.less_equal(ops.cumsum(shares, self._int64(0)), point), "i32")
        token = ops.convert(ops.reduce_sum(passed, self._int64([0]), True), "i64")
        return ops.select(ops.less(token, self._int64([self._vocab_size])), token, best)

    def _give_rows(self, inputs: dict[str, Any], rows: list[int]) -> None:
        """Which tokens get logits, where the graph asks."""
        asked = inputs.pop("rows", None)
        if asked is not None:
            asked.output(0).replace(self._int64(rows).output(0))

    def _input(self, name: str, shape: list[int], dtype: Any) -> Any:
        node = self._ops.parameter(shape, dtype, name=name)
        node.output(0).get_tensor().set_names({name})
        return node

    def _single(self, output: Any) -> Any:
        """An output [1] as a node of its own."""
        return self._ops.reshape(output, self._int64([1]), False)

    def _int32(self, value: Any) -> Any:
        return self._ops.constant(np.asarray(value, np.int32))

    def _int64(self, value: Any) -> Any:
        return self._ops.constant(np.asarray(value, np.int64))


def _named(model: Any) -> dict[str, Any]:
    return {next(iter(node.output(0).get_names())): node for node in model.get_parameters()}


def _constants(model: Any) -> dict[str, Any]:
    """Constants by name; a name that stands twice tells nothing."""
    nodes = [node for node in model.get_ops() if node.get_type_name() == "Constant"]
    times = Counter(node.get_friendly_name() for node in nodes)
    return {name: node for node in nodes if times[name := node.get_friendly_name()] == 1}
