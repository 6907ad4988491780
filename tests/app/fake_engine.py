"""An engine without models: the same protocol, plausible tokens, quick.

``--speed X`` divides the recorded times by X while streaming, ``--draft-problem TEXT`` reports a
draft that did not load, ``--load-seconds S`` takes that long to load, ``--noise`` writes lines
that are no events, ``--differ`` lets both texts differ, ``--stubborn`` ignores polite signals,
``--deaths FILE`` takes the first line off FILE, one of ``MOMENTS``, and kills itself (-9) there,
``--hostile N`` gives N characters that no model of good manners gives,
``--chat`` is a target with a chat template,
``--slower WORDS`` makes verifying five times as dear and gives WORDS as the reason, ``--cache B`` is the last-level cache in bytes.
"""

from __future__ import annotations

import argparse
import os
import queue
import random
import re
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from fastdraft_core.events import (
    Block,
    BlockCost,
    Cancel,
    Command,
    Compared,
    Event,
    Failed,
    FirstToken,
    Load,
    Machine,
    ModelCard,
    PairLoaded,
    PeakBandwidth,
    Progress,
    Quit,
    Run,
    RunFinished,
    RunMetrics,
    RunStarted,
    Token,
    decode_command,
    encode,
)

MACHINE = Machine(
    fastdraft="0", python="3", versions={}, os="An OS", cpu="A Fake Engine", physical_cores=2, logical_cores=2,
    memory_total=8 << 30,
)  # fmt: skip
TEXT = '''        """Put an item on top of the stack."""
        self.items.append(item)

    def pop(self):
        """Remove the top item and return it."""
        if not self.items:
            raise IndexError("pop from an empty stack")
        return self.items.pop()

    def peek(self):
        """Return the top item and leave it in place."""
        return self.items[-1]

    def __len__(self):
        return len(self.items)

    def __repr__(self):
        return f"{type(self).__name__}({self.items!r})"
'''
AR_STEP, DRAFT_STEP, VERIFY_STEP, OVERHEAD = 0.0085, 0.0009, 0.0102, 0.0003
TARGET_BYTES, DRAFT_BYTES = 45_800_000, 2_580_000


def card(name: str, parameters: int, layers: int) -> ModelCard:
    """A model that does not exist."""
    return ModelCard(
        name=name,
        architecture="LlamaForCausalLM",
        parameters=parameters,
        weight_bytes=parameters * 2,
        dtype="bfloat16",
        device="cpu",
        layers=layers,
        hidden_size=384,
        vocab_size=4096,
        context_length=1024,
    )


HOSTILE = (
    "\x1b]0;pwned\x07", "\x1b[2J\x1b[31mpwned", "\x9b31mpwned", "\x00\x7f\r\b\x0b\x1b", "[/INST] [red]x[/red] [@click=app.quit]",
    "日本語テキスト", "e\u0301\u0301\u0301", "\u200b\u202e\u2066\ufeff\ufe0f", "🇩🇪👍🏽👨\u200d👩\u200d👧", "\uffff\ue000", "\t", "\n", " ", "a" * 90,
    "\u0301" * 40, "\u2028\u2029", "\U000e0041", "\x1bPq#0;2;0;0;0\x1b\\",
)  # fmt: skip
"""What an untrained or ill-willed model may say: commands to the terminal, markup, text without width."""


def hostile(length: int, characters: int) -> list[str]:
    """``length`` token texts of together about ``characters`` hostile characters."""
    rng, size = random.Random(5), max(characters // length, 1)
    words = []
    for _ in range(length):
        word = ""
        while len(word) < size:
            word += rng.choice(HOSTILE)
        words.append(word)
    return words


MOMENTS = (
    "start", "loading", "loaded", "ar started", "ar", "line", "ar finished", "sd started", "sd", "sd finished", "compared", "idle",
)  # fmt: skip
"""Where an engine can be killed; ``line`` is in the middle of a message."""


def next_death(file: str) -> str:
    """Take the first line off ``file``; nothing where there is none."""
    if not file:
        return ""
    first, _, rest = Path(file).read_text().partition("\n")
    Path(file).write_text(rest)
    return first


def pieces(length: int) -> list[str]:
    """``length`` token texts."""
    words = re.findall(r" ?\w{1,5}|\n +|\s|[^\w\s]{1,2}", TEXT)
    return (words * (length // len(words) + 1))[:length]


def ar_blocks(words: list[str], speed: float) -> Iterator[Block]:
    """One plain token a block."""
    for index, word in enumerate(words[1:]):
        step = AR_STEP * (0.9 + 0.2 * random.random())
        time.sleep(step / speed)
        yield Block(
            mode="ar", index=index, drafted=[], extra=Token(id=index, text=word), at=AR_STEP * (index + 1),
            draft_seconds=0.0, verify_seconds=step, overhead_seconds=0.0, context=index, bytes_read=TARGET_BYTES,
        )  # fmt: skip


def sd_blocks(words: list[str], gamma: int, acceptance: float, speed: float, verify: float) -> Iterator[Block]:
    """Blocks with all five states."""
    rng, place, index, at = random.Random(3), 1, 0, 0.0
    while place < len(words):
        kept = next((i for i in range(gamma) if rng.random() > acceptance), gamma)
        kept = min(kept, len(words) - place - 1)
        drafted = [Token(id=1, text=word, state="accepted") for word in words[place : place + kept]]
        place += kept
        if kept < gamma:
            drafted.append(Token(id=2, text=rng.choice([" self", "None", "\n", " x", "(("]), state="rejected"))
            drafted.extend(Token(id=3, text=" foo", state="discarded") for _ in range(gamma - kept - 1))
        extra = Token(id=4, text=words[place], state="bonus" if kept == gamma else "corrected")
        place += 1
        seconds = gamma * DRAFT_STEP + verify + OVERHEAD
        at += seconds
        time.sleep(seconds / speed)
        yield Block(
            mode="sd", index=index, drafted=drafted, extra=extra, at=at, draft_seconds=gamma * DRAFT_STEP,
            verify_seconds=verify, overhead_seconds=OVERHEAD, context=place,
            bytes_read=TARGET_BYTES + gamma * DRAFT_BYTES,
        )  # fmt: skip
        index += 1


def metrics(blocks: list[Block], gamma: int) -> RunMetrics:
    """The figures of a run."""
    drafted = sum(len(block.drafted) for block in blocks)
    accepted = sum(token.state == "accepted" for block in blocks for token in block.drafted)
    tokens = accepted + len(blocks)
    seconds = blocks[-1].at if blocks else 0.0
    shares = [sum(getattr(block, name) for block in blocks) for name in
              ("draft_seconds", "verify_seconds", "overhead_seconds")]  # fmt: skip
    busy = sum(shares) or 1.0
    tau = tokens / len(blocks) if blocks else 0.0
    return RunMetrics(
        tokens=tokens, seconds=seconds, tokens_per_second=tokens / seconds if seconds else 0.0, blocks=len(blocks),
        drafted=drafted, accepted=accepted, acceptance=accepted / drafted if drafted else 0.0, tau=tau,
        mbsu=tau / (0.056 * gamma + 1), mbsu_bytes=tau, joint=[], conditional=[], draft_share=shares[0] / busy,
        verify_share=shares[1] / busy, overhead_share=shares[2] / busy,
        gigabytes_per_second=sum(block.bytes_read for block in blocks) / seconds / 1e9 if seconds else 0.0,
    )  # fmt: skip


class FakeEngine:
    """Carries out commands one at a time, as the real one does."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.commands: queue.SimpleQueue[tuple[int, Command]] = queue.SimpleQueue()
        self.newest = 0
        self.speculating = True
        self.death = next_death(options.deaths)

    def die_at(self, moment: str) -> None:
        """Be killed here, if this is the moment."""
        if moment != self.death:
            return
        if moment == "line":
            sys.stdout.buffer.write(b'{"type":"block","mode":"ar","index":1,"draf')
            sys.stdout.buffer.flush()
        os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))

    def emit(self, event: Event) -> None:
        """Write one event as one line."""
        sys.stdout.buffer.write(encode(event))
        sys.stdout.buffer.flush()

    def read(self) -> None:
        """Take commands until the input ends."""
        for line in sys.stdin.buffer:
            self.newest += 1
            self.commands.put((self.newest, decode_command(line)))
        self.commands.put((0, Quit()))

    def serve(self) -> None:
        """Carry out commands until ``Quit``."""
        while True:
            number, command = self.commands.get()
            if isinstance(command, Quit):
                return
            if isinstance(command, Load):
                self.load(command)
            elif isinstance(command, Run):
                self.run(number, command)
            else:
                assert isinstance(command, Cancel)

    def load(self, command: Load) -> None:
        """Pretend to load a pair."""
        if self.options.noise:
            sys.stdout.buffer.write(
                b'Some library says hello\n{"type":"unheard"}\n\xff\xfe\n{"type":"progress","what":"\xf0\x9f"}\n'
            )
            sys.stdout.buffer.flush()
        steps = ("starting PyTorch", f"loading target {command.target}", f"loading draft {command.draft}", "warming up")
        self.die_at("start")
        for what in steps:
            self.emit(Progress(what=what))
            self.die_at("loading")
            time.sleep(self.options.load_seconds / len(steps))
        if command.target == "missing":
            self.emit(Failed(message="There is no model at missing. Check the path.", log="/tmp/engine.log"))
            return
        problem = self.options.draft_problem or None
        self.speculating = bool(command.draft) and problem is None
        self.emit(
            PairLoaded(
                target=card(command.target, 22_900_000, 12),
                draft=card(command.draft, 1_290_000, 1) if self.speculating else None,
                draft_problem=problem if command.draft else None,
                runtime="torch",
                threads=2,
                seconds=self.options.load_seconds,
                chat=self.options.chat,
            )
        )
        self.die_at("loaded")

    def run(self, number: int, command: Run) -> None:
        """Pretend to decode both ways."""
        length = command.max_new_tokens
        words = hostile(length, self.options.hostile) if self.options.hostile else pieces(length)
        speed = self.options.speed
        makers = {"ar": lambda: ar_blocks(words, speed)}
        if self.speculating:
            verify = VERIFY_STEP * (5 if self.options.slower else 1)
            makers["sd"] = lambda: sd_blocks(words, command.gamma, 0.85 - 0.2 * command.temperature, speed, verify)
        rates = {}
        for mode, make in makers.items():
            self.emit(
                RunStarted(
                    mode=mode, prompt=command.prompt, prompt_tokens=30, gamma=command.gamma,
                    temperature=command.temperature, top_k=0, top_p=1.0, seed=command.seed,
                    max_new_tokens=command.max_new_tokens, chat=self.options.chat and command.chat is not False,
                    earlier=command.earlier,
                )
            )  # fmt: skip
            self.die_at(f"{mode} started")
            self.emit(FirstToken(mode=mode, token=Token(id=0, text=words[0]), prefill_seconds=0.02))
            blocks: list[Block] = []
            for block in make():
                if self.newest != number:
                    break
                blocks.append(block)
                self.emit(block)
                if len(blocks) == 4:
                    self.die_at(mode)
                    self.die_at("line")
            figures = metrics(blocks, command.gamma)
            rates[mode] = figures.tokens_per_second
            cancelled = self.newest != number
            reason = "cancelled" if cancelled else "length"
            # As the real one, of which a few words do for a conversation.
            text, ids = ("".join(words), [7, 8, 9]) if self.options.chat else ("", [])
            self.emit(RunFinished(mode=mode, reason=reason, text=text, ids=ids, metrics=figures))
            if cancelled:
                return
            self.die_at(f"{mode} finished")
        if len(rates) == 2:
            identical = None if command.temperature else not self.options.differ
            self.emit(
                Compared(
                    speedup=rates["sd"] / rates["ar"], identical=identical, cost=self.cost(command.gamma),
                    slower=self.options.slower,
                )
            )  # fmt: skip
            self.emit(
                PeakBandwidth(
                    gigabytes_per_second=12.6, threads=2, lower_bound=False, measured_on="2026-01-01",
                    last_level_cache=self.options.cache,
                )
            )  # fmt: skip

        self.die_at("compared")
        threading.Timer(0.1, self.die_at, ["idle"]).start()

    def cost(self, gamma: int) -> BlockCost:
        """What a block costs here, in autoregressive steps."""
        verify, draft, overhead = (
            part / AR_STEP for part in (VERIFY_STEP * (5 if self.options.slower else 1), DRAFT_STEP, OVERHEAD)
        )
        even = (verify + gamma * draft + overhead - 1) / gamma
        return BlockCost(drafted=gamma, draft=draft, verify=verify, overhead=overhead, break_even=even)


def main() -> None:
    """Serve until the input closes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--speed", type=float, default=1.0)
    parser.add_argument("--load-seconds", type=float, default=0.0)
    parser.add_argument("--draft-problem", default="")
    parser.add_argument("--noise", action="store_true")
    parser.add_argument("--differ", action="store_true")
    parser.add_argument("--stubborn", action="store_true")
    parser.add_argument("--deaths", default="")
    parser.add_argument("--hostile", type=int, default=0)
    parser.add_argument("--slower", default="")
    parser.add_argument("--chat", action="store_true")
    parser.add_argument("--cache", type=int, default=1 << 20)
    options = parser.parse_args()
    if options.stubborn:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    engine = FakeEngine(options)
    engine.emit(MACHINE)
    threading.Thread(target=engine.read, daemon=True).start()
    engine.serve()


if __name__ == "__main__":
    main()
