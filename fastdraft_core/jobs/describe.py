"""Jobs in words: the lines of ``fastdraft train``, ``fastdraft jobs`` and ``log.txt``."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from fastdraft_core.events import (
    Checkpointed,
    Evaluated,
    Event,
    JobEnded,
    JobStarted,
    Mixed,
    Progress,
    RecipeChanged,
    Sampled,
    Scored,
    StageAcceptance,
    StageFinished,
    StageStarted,
    Step,
    Synthesized,
    Tokenized,
)
from fastdraft_core.formatting import in_bytes, span

if TYPE_CHECKING:
    from fastdraft_core.jobs.view import JobView

_BARS = "▁▂▃▄▅▆▇█"


def describe(event: Event) -> str:
    """One line for a person."""
    match event:
        case Progress():
            return event.what
        case JobStarted():
            return f"started on {event.device}, {_clock(event.at)}, process {event.pid}"
        case JobEnded():
            return f"{event.state}, {_clock(event.at)}{': ' if event.message else ''}{event.message}"
        case RecipeChanged():
            return f"the recipe is changed, {_clock(event.at)}: {'; '.join(event.changes)}"
        case Tokenized():
            left_out = "".join(f", {count:,} {reason}" for reason, count in event.dropped.items() if count)
            return (
                f"{event.source}: {event.tokens:,} tokens for training and {event.held_out_tokens:,} held out, of "
                f"{event.documents:,} documents{left_out}, {event.tokens_per_second:,.0f} tokens/s"
            )
        case Mixed():
            seen = {source: f"{times:.2f} epochs" for source, times in event.epochs.items()}
            parts = (f"{s} {n:,} tokens, {seen.get(s, 'a part of it')}" for s, n in event.tokens.items())
            return f"{event.stage}: {'; '.join(parts)}"
        case Synthesized():
            left_out = "".join(
                f", {n:,} {what}" for n, what in ((event.errors, "failed"), (event.skipped, "skipped")) if n
            )
            return (
                f"the target wrote {event.tokens:,} of {event.total_tokens:,} tokens in {event.sequences:,} "
                f"sequences{left_out}, {event.tokens_per_second:,.0f} tokens/s"
            )
        case Scored():
            return (
                f"the target's probabilities of {event.tokens:,} of {event.total_tokens:,} tokens are stored, "
                f"{event.tokens_per_second:,.0f} tokens/s, {event.bytes_per_token} bytes a token"
            )
    return _describe_stage(event)


def _describe_stage(event: Event) -> str:
    match event:
        case StageStarted():
            return (
                f"{event.stage}: step {event.step} of {event.num_steps}, {event.tokens_per_step} tokens a step, "
                f"{event.parameters / 1e6:.2f} M parameters"
            )
        case Step():
            return (
                f"{event.stage} {event.step:>6}/{event.num_steps}  loss {event.loss:6.4f}  rate {event.learning_rate:.2e}  "
                f"norm {event.gradient_norm:5.2f}  {event.tokens_per_second:8,.0f} tokens/s{_machine(event)}"
            )
        case Evaluated():
            return f"{event.stage} {event.step:>6}  held-out {_evaluated(event)}"
        case Sampled():
            # As Python writes strings: no text of a model reaches the terminal as anything but text.
            beside = f", the target: {event.target_text!r}" if event.target_text else ""
            return f"{event.stage} {event.step:>6}  {event.source}: {event.prompt!r} goes on {event.text!r}{beside}"
        case Checkpointed():
            return f"{event.stage} {event.step:>6}  checkpoint {event.path}"
        case StageFinished():
            return f"{event.stage}: done, {event.tokens:,} tokens in all, {event.seconds:,.0f} s in this run"
        case StageAcceptance():
            return f"{event.stage}: accepted/drafted {_rates(event.acceptance)} (held-out prompts, gamma {event.gamma}, T {event.temperature})"
    return str(event)


def _evaluated(event: Evaluated) -> str:
    losses = ", ".join(f"{s} {event.loss[s]:.4f} (perplexity {p:.4g})" for s, p in event.perplexity.items())
    parts = [f"loss: {losses}, nats a token"]
    if event.acceptance:
        parts.append(f"expected acceptance: {_rates(event.acceptance)}")
    if event.accepted:
        setting = f"gamma {event.gamma}, T {event.temperature:g}, along the target's texts"
        parts.append(f"accepted/drafted: {_rates(event.accepted)} ({setting})")
    if event.coverage:
        parts.append(f"in the draft vocabulary: {_rates(event.coverage)} of the tokens")
    return "; ".join(parts)


def _rates(rates: dict[str, float]) -> str:
    return ", ".join(f"{source} {rate:.3f}" for source, rate in rates.items())


def _machine(event: Step) -> str:
    """How well the device is used, what the process holds of its memory, and the stage's time left; what is known of it."""
    parts = [
        f"{event.utilisation:.0%} of matrix peak" if event.utilisation is not None else "",
        in_bytes(event.memory) if event.memory else "",
        f"{span(event.seconds_left)} left" if event.seconds_left else "",
    ]
    return "".join(f"  {part}" for part in parts if part)


def _clock(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


def summary(view: JobView) -> Iterator[str]:
    """A job on a page of lines."""
    device = f"{',' if view.host else ' on'} {view.device}" if view.device else ""
    yield f"{view.name}: {state_words(view)}{device}"
    for text in (view.error, view.problem, last_sign(view), view.doing):
        if text:
            yield f"  {text}"
    for stage in view.stages:
        yield f"  {stage.name}  {stage.share:4.0%}  {stage.tokens:,} of {stage.total_tokens:,} tokens"
    if view.left:
        yield f"  {view.left}"
    if view.last:
        yield f"  {describe(view.last)}"
    if view.loss:
        yield f"  loss {_spark([loss for _, loss in view.loss])} {view.loss[0][1]:.3f} to {view.loss[-1][1]:.3f} nats a token"
    for source, points in view.held_out.items():
        yield f"  held-out loss on {source}: {points[-1][1]:.4f} nats a token"
    for told in (*view.acceptance.values(), *view.samples.values()):
        yield f"  {describe(told)}"
    yield f"  {in_bytes(view.size)} in {view.folder}"


def state_words(view: JobView) -> str:
    """The state, the machine where that is another one, and what a running job was asked to do."""
    wished = {"pause": " (pausing)", "cancel": " (being cancelled)"}
    return f"{view.state}{f' on {view.host}' if view.host else ''}{wished.get(view.wish, '')}"


def last_sign(view: JobView) -> str:
    """How old the newest sign of a job is that cannot be seen from here; nothing of any other."""
    return f"as of its last event, {span(max(time.time() - view.heard, 0))} ago" if view.host else ""


def _spark(values: list[float]) -> str:
    low, high = min(values), max(values)
    scale = (len(_BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(_BARS[round((value - low) * scale)] for value in values)
