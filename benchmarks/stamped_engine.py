"""An engine without models that gives numbered tokens at a steady rate: ``python benchmarks/stamped_engine.py RATE COUNT``.

``screen.py`` runs it under the app. A token's text is its number and the moment (milliseconds of the
monotonic clock) at which it was written, so that whoever sees it on the terminal knows how late it is.
"""

from __future__ import annotations

import sys
import time

from fastdraft_core.events import (
    Block,
    Compared,
    Event,
    FirstToken,
    Load,
    ModelCard,
    PairLoaded,
    Run,
    RunFinished,
    RunMetrics,
    RunStarted,
    Token,
    decode_command,
    encode,
)

GAMMA = 4
_NO_FIGURES = RunMetrics(
    tokens=1, seconds=1.0, tokens_per_second=1.0, blocks=1, drafted=1, accepted=1, acceptance=1.0, tau=1.0, mbsu=1.0,
    mbsu_bytes=1.0, joint=[], conditional=[], draft_share=0.2, verify_share=0.8, overhead_share=0.0,
    gigabytes_per_second=1.0,
)  # fmt: skip


def main() -> None:
    """Answer a ``Load``, and each ``Run`` with two runs at the rate."""
    rate, count = float(sys.argv[1]), int(sys.argv[2])
    for line in sys.stdin.buffer:
        command = decode_command(line)
        if isinstance(command, Load):
            card = _card()
            _emit(PairLoaded(target=card, draft=card, draft_problem=None, runtime="none", threads=1, seconds=0.0))
        elif isinstance(command, Run):
            for mode in ("ar", "sd"):
                _run(command, mode, rate, count)
            _emit(Compared(speedup=1.0, identical=True))


def _run(command: Run, mode: str, rate: float, count: int) -> None:
    _emit(
        RunStarted(
            mode=mode, prompt="", prompt_tokens=1, gamma=GAMMA, temperature=0.0, top_k=0, top_p=1.0, seed=0,
            max_new_tokens=command.max_new_tokens,
        )
    )  # fmt: skip
    _emit(FirstToken(mode=mode, token=Token(id=0, text="start"), prefill_seconds=0.0))
    size = 1 if mode == "ar" else GAMMA + 1
    begin = time.monotonic()
    for index in range(count // size):
        at = (index + 1) * size / rate
        time.sleep(max(0.0, begin + at - time.monotonic()))
        texts = [stamp(mode, index * size + i, time.monotonic()) for i in range(size)]
        _emit(
            Block(
                mode=mode, index=index, at=at, draft_seconds=0.2 * size / rate, verify_seconds=0.8 * size / rate,
                drafted=[Token(id=1, text=text, state="accepted") for text in texts[:-1]],
                extra=Token(id=2, text=texts[-1], state="plain" if mode == "ar" else "bonus"),
                overhead_seconds=0.0, context=index, bytes_read=1,
            )
        )  # fmt: skip
    _emit(RunFinished(mode=mode, reason="length", text="", ids=[], metrics=_NO_FIGURES))


def stamp(mode: str, number: int, moment: float) -> str:
    """`` a00042x123456789;``: the run, the token's number, the moment."""
    return f" {mode[0]}{number:05}x{1000 * moment:.0f};"


def _card() -> ModelCard:
    return ModelCard(
        name="stamped", architecture="none", parameters=1, weight_bytes=1, dtype="float32", device="cpu", layers=1,
        hidden_size=1, vocab_size=1, context_length=1 << 20,
    )  # fmt: skip


def _emit(event: Event) -> None:
    sys.stdout.buffer.write(encode(event))
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
