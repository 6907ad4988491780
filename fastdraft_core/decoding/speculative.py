"""Speculative decoding: a drafter proposes a block, one target pass checks it, nothing is lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch

from fastdraft_core.decoding.details import Observer
from fastdraft_core.decoding.drafters import Drafter
from fastdraft_core.decoding.records import BLOCK, TOKEN, First, Pass, Record, Request, Stopwatch, Streams, cut
from fastdraft_core.decoding.sampling import Sampling, Verdict, best, draw, judge, judge_block, judge_greedy, process
from fastdraft_core.runtimes.base import Runtime


def autoregressive(target: Runtime, request: Request) -> Iterator[Record]:
    """Decode ``request`` token by token: a ``First``, then a ``Pass`` a token."""
    watch = Stopwatch()
    logits = target.prefill(request.prompt)
    stream = request.streams(logits.device).target
    token = next_token(logits, request.sampling, stream)
    first = First(token, watch.read() + target.kept.seconds, target.kept.tokens)
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


#: From drafted ids, draft distributions [n, V], target logits [n + 1, V], sampling and streams, a verdict.
Judge = Callable[[list[int], torch.Tensor | None, torch.Tensor, Sampling, Streams], Verdict]


def lossless(
    drafted: list[int], q: torch.Tensor | None, logits: torch.Tensor, sampling: Sampling, streams: Streams
) -> Verdict:
    """The verdict that keeps the target's distribution, token by token."""
    return _verdict(judge, drafted, q, logits, sampling, streams)


def lossless_block(
    drafted: list[int], q: torch.Tensor | None, logits: torch.Tensor, sampling: Sampling, streams: Streams
) -> Verdict:
    """The verdict that keeps the target's distribution, over the block at once; greedy, both are the same."""
    return _verdict(judge_block, drafted, q, logits, sampling, streams)


JUDGES: dict[str, Judge] = {TOKEN: lossless, BLOCK: lossless_block}
"""The lossless verdicts by the name of the verification."""


def _verdict(
    rule: Callable[[list[int], torch.Tensor, torch.Tensor, torch.Generator, torch.Generator], Verdict],
    drafted: list[int],
    q: torch.Tensor | None,
    logits: torch.Tensor,
    sampling: Sampling,
    streams: Streams,
) -> Verdict:
    if sampling.greedy:
        return judge_greedy(drafted, logits)
    p = process(logits, sampling)
    # With nothing drafted there is nothing to judge, and an empty q serves.
    return rule(drafted, p[:0] if q is None else q.to(p.device), p, streams.accept, streams.target)


def speculative(
    target: Runtime,
    drafter: Drafter,
    request: Request,
    gamma: int,
    judge: Judge | None = None,
    observe: Observer | None = None,
) -> Iterator[Record]:
    """Decode ``request`` in blocks of at most ``gamma`` drafted tokens: a ``First``, then ``Pass``es.

    The tokens have the distribution of ``autoregressive``'s; greedy ones are equal. The cache
    holds all tokens but the last emitted one, which every pass reads first. ``judge`` is the request's, unless a check gives
    another. ``observe`` sees every
    block while the stopwatch stands still, and before it the prefill's token, as a block that drafted nothing.
    """
    watch, judge = Stopwatch(), judge or JUDGES[request.verification]
    logits = target.prefill(request.prompt)
    streams = request.streams(logits.device)
    token = next_token(logits, request.sampling, streams.target)
    drafter.prepare(gamma, request.sampling)
    # The draft reads the prompt before anyone sees the first token, so that is in the time to it.
    drafter.start(request.prompt)
    first = First(token, watch.read() + target.kept.seconds + drafter.kept.seconds, target.kept.tokens)
    if observe is not None:
        observe([], Verdict(0, token, [], [], []), logits[None], [])
    yield first
    sequence, end = [*request.prompt, token], len(request.prompt) + request.max_new_tokens
    watch = Stopwatch()
    while len(sequence) < end and sequence[-1] not in request.stops and target.length < target.context_length:
        begin, context = watch.read(), target.length
        room = min(gamma, end - len(sequence) - 1, target.context_length - context - 1)
        drafted, q = drafter.propose(sequence, room, request.sampling, streams.draft)
        # A drafter has its tokens on the host, so its device is done.
        proposed = watch.read()
        logits = target.forward([sequence[-1], *drafted])
        target.synchronize()
        verified = watch.read()
        verdict = judge(drafted, q, logits, request.sampling, streams)
        emitted = cut([*drafted[: verdict.accepted], verdict.token], request.stops)
        target.rewind(len(sequence) + verdict.accepted)
        drafter.learn(sequence, drafted, verdict, logits)
        drafter.keep(len(sequence) + verdict.accepted)
        sequence += emitted
        at = watch.read()
        watch.pause()
        if observe is not None:
            observe(drafted, verdict, logits, drafter.logits)
        seconds = (proposed - begin, verified - proposed, at - verified)
        yield _record(drafted, verdict, emitted, at, seconds, context, drafter.skipped)
        watch.resume()


def _record(
    drafted: list[int],
    verdict: Verdict,
    emitted: list[int],
    at: float,
    seconds: tuple[float, float, float],
    context: int,
    skipped: int,
) -> Pass:
    whole = len(emitted) == verdict.accepted + 1
    accepted = verdict.accepted if whole else len(emitted)
    return Pass(
        drafted=drafted,
        # Past a stop nothing is judged: those tokens have no place in any statistic.
        judged=min(verdict.accepted + 1, len(drafted)) if whole else accepted,
        accepted=accepted,
        extra=verdict.token if whole else None,
        at=at,
        draft_seconds=seconds[0],
        verify_seconds=seconds[1],
        overhead_seconds=seconds[2],
        context=context,
        p=verdict.p,
        q=verdict.q,
        u=verdict.u,
        skipped=skipped,
    )
