"""Plain decoding, one target pass a token: the baseline of every speed-up."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from fastdraft_core.decoding.records import First, Pass, Record, Request
from fastdraft_core.decoding.sampling import Sampling, best, draw, process
from fastdraft_core.decoding.stopwatch import Stopwatch
from fastdraft_core.runtimes.base import Runtime


def autoregressive(target: Runtime, request: Request) -> Iterator[Record]:
    """Decode ``request`` token by token: a ``First``, then a ``Pass`` a token."""
    watch = Stopwatch()
    logits = target.prefill(request.prompt)
    stream = request.streams(logits.device).target
    token = next_token(logits, request.sampling, stream)
    first = First(token, watch.read())
    yield first
    produced, watch = 1, Stopwatch()
    while produced < request.max_new_tokens and token not in request.stops and target.length < target.context_length:
        begin, context = watch.read(), target.length
        logits = target.forward([token])[0]
        target.synchronize()
        verified = watch.read()
        token = next_token(logits, request.sampling, stream)
        at = watch.read()
        produced += 1
        watch.pause()
        yield Pass([], 0, 0, token, at, 0.0, verified - begin, at - verified, context)
        watch.resume()


def next_token(logits: torch.Tensor, sampling: Sampling, stream: torch.Generator) -> int:
    """The token that follows, from logits ``[V]``.

    Raises:
        FastdraftError: logits are NaN.
    """
    if sampling.greedy:
        return best(logits[None])[0]
    return draw(process(logits[None], sampling)[0], stream)
