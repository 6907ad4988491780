"""The engine process: ``python -m fastdraft_core.engine.process`` reads commands, writes events, as JSON lines.

Models live here and nowhere else. A reader thread takes commands from standard input, so that a
cancel is seen between two tokens; the end of standard input ends the process.
"""

from __future__ import annotations

import contextlib
import datetime
import logging
import os
import queue
import sys
import threading
from collections.abc import Callable
from dataclasses import fields, replace
from functools import partial
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from fastdraft_core import places
from fastdraft_core.errors import FastdraftError
from fastdraft_core.events import (
    Command,
    Compared,
    Event,
    Failed,
    Load,
    NearTie,
    PairLoaded,
    PeakBandwidth,
    Progress,
    Quit,
    Run,
    RunFinished,
    decode_command,
    encode,
)
from fastdraft_core.machine.bandwidth import Bandwidth, kept_peak_bandwidth, measured_peak_bandwidth
from fastdraft_core.machine.cpu import last_level_cache
from fastdraft_core.machine.devices import this_machine

if TYPE_CHECKING:
    from fastdraft_core.decoding.records import Request
    from fastdraft_core.engine.pair import Pair
    from fastdraft_core.models.conversation import Conversation

_log = logging.getLogger("fastdraft.engine")
_CALIBRATION_TOKENS = 48


class _Superseded(Exception):  # noqa: N818 - no error: the way out of loading what nobody waits for any more
    """A newer command came while a pair was loaded or a prompt was read."""


class Engine:
    """Carries out commands one at a time; ``emit`` receives every event."""

    def __init__(self, emit: Callable[[Event], None]) -> None:
        self.emit = emit
        self._pair: Pair | None = None
        self._peak_measured = False
        # Commands are numbered; the one in progress ends as soon as it is not the newest.
        self._newest = 0
        # A run that was asked for meanwhile waits for the pair that is loaded.
        self._newest_but_runs = 0
        self._commands: queue.SimpleQueue[tuple[int, Command]] = queue.SimpleQueue()

    def read(self, source: BinaryIO) -> None:
        """Take commands from ``source`` until it ends; a cancel works at once."""
        for line in source:
            try:
                command = decode_command(line)
            except msgspec.MsgspecError:
                _log.warning("ignored a malformed command: %r", line[:200])
                continue
            self.put(command)
        self.put(Quit())

    def put(self, command: Command) -> None:
        """Have ``command`` carried out next; the one in progress ends."""
        self._newest += 1
        if not isinstance(command, Run):
            self._newest_but_runs = self._newest
        self._commands.put((self._newest, command))

    def _superseded(self, number: int, command: Command) -> bool:
        return number < (self._newest_but_runs if isinstance(command, Load) else self._newest)

    def serve(self) -> None:
        """Carry out commands until ``Quit``."""
        while True:
            number, command = self._commands.get()
            if isinstance(command, Quit):
                return
            try:
                self.carry_out(command, partial(self._superseded, number, command))
            except _Superseded:
                _log.info("called off")
            except FastdraftError as error:
                _log.info("refused: %s", error.message)
                self._fail(error.message)
            except MemoryError:
                _log.exception("out of memory")
                self._fail(
                    "There is not enough memory for this. Use a smaller model, a shorter text or --dtype bfloat16."
                )
            except Exception as error:
                _log.exception("command failed")
                self._fail(f"The engine met an unexpected error ({type(error).__name__}).")

    def _fail(self, message: str) -> None:
        self.emit(Failed(message=message, log=str(places.log_file("engine"))))

    def carry_out(self, command: Command, cancelled: Callable[[], bool] = lambda: False) -> None:
        """Load a pair or decode both ways; ``cancelled`` is asked at every step, pass over a long prompt and block.

        Raises:
            FastdraftError: it cannot be done.
        """
        if isinstance(command, Load):
            self._load(command, cancelled)
        elif isinstance(command, Run):
            self._compare(command, cancelled)

    def _load(self, command: Load, cancelled: Callable[[], bool]) -> None:
        self.emit(Progress(what="starting PyTorch"))
        if command.trust_remote_code:
            self.emit(Progress(what="code that comes WITH the models runs here"))
        from fastdraft_core.engine.load_options import LoadOptions
        from fastdraft_core.engine.pair import load_pair

        self._pair = None
        options = LoadOptions(**{field.name: getattr(command, field.name) for field in fields(LoadOptions)})

        def report(step: str) -> None:
            if cancelled():
                raise _Superseded
            self.emit(Progress(what=step))

        problem = None
        try:
            pair = load_pair(command.target, command.draft or None, options, report)
        except FastdraftError as error:
            if not command.draft:
                raise
            # The target alone still answers; the screen says why there is no speculation.
            problem = error.message
            pair = load_pair(command.target, None, options, report)
        self._pair = pair
        self.emit(
            PairLoaded(
                target=pair.target.card,
                draft=pair.draft.card if pair.draft else None,
                draft_problem=problem,
                runtime=pair.runtime,
                runtime_reason=pair.runtime_reason,
                threads=pair.threads,
                seconds=pair.seconds,
                chat=pair.chats,
            )
        )
        if kept := kept_peak_bandwidth():
            self._report_peak(pair, kept)

    def _report_device_peak(self, pair: Pair) -> None:
        """Tell the bandwidth of the memory of a device, where the pair's weights lie in it; none of an NPU, which reads in its own way."""
        from fastdraft_core.engine.device_peak import device_peak

        device = pair.target.card.device
        if device.startswith("npu"):
            return
        peak = device_peak(pair.runtime, device)
        today = datetime.date.today().isoformat()
        self.emit(
            PeakBandwidth(
                gigabytes_per_second=peak, threads=0, lower_bound=False, measured_on=today, last_level_cache=None
            )
        )

    def _report_peak(self, pair: Pair, found: Bandwidth) -> None:
        """Tell the bandwidth of main memory, where the pair's weights lie in it."""
        if pair.target.card.device != "cpu":
            return
        self.emit(
            PeakBandwidth(
                gigabytes_per_second=found.single_thread if pair.threads == 1 else found.all_threads,
                threads=min(pair.threads, found.threads),
                lower_bound=found.busy,
                measured_on=found.measured_on,
                last_level_cache=last_level_cache(),
            )
        )

    def _prepare(self, pair: Pair, mode: str, request: Request, gamma: int, cancelled: Callable[[], bool]) -> None:
        """Read the prompt and warm up, so that what is timed finds both done.

        Raises:
            _Superseded: somebody called it off meanwhile.
        """
        progress = None
        for progress in pair.read_prompt(mode, request):
            self.emit(progress)
            if cancelled():
                raise _Superseded
        if progress is not None:
            self.emit(Progress(what="warming up"))
        pair.warm_up(mode, request, gamma, cancelled)
        if cancelled():
            raise _Superseded

    def _compare(self, command: Run, cancelled: Callable[[], bool]) -> None:
        """Both modes, one after the other, each after its own warm-up."""
        from fastdraft_core.decoding.sampling import Sampling

        pair = self._pair
        if pair is None:
            raise FastdraftError("No model is loaded.")
        prompt = _prompt(pair, command)
        request = pair.request(
            prompt,
            max_new_tokens=command.max_new_tokens,
            sampling=Sampling(command.temperature, command.top_k, command.top_p),
            seed=command.seed,
            chat=command.chat,
            verification=command.verification,
        )
        finished: dict[str, RunFinished] = {}
        for mode in ("ar", "sd") if pair.draft else ("ar",):
            self._prepare(pair, mode, request, command.gamma, cancelled)
            for event in pair.events(mode, prompt, request, command.gamma, cancelled, inspect=True):
                self.emit(event)
                if isinstance(event, RunFinished):
                    finished[mode] = event
            if cancelled():
                return
        if len(finished) == 2:
            if request.sampling.greedy and finished["ar"].ids != finished["sd"].ids:
                self.emit(Progress(what="finding why the texts part"))
            self.emit(compare(pair, request, command.gamma, finished["ar"], finished["sd"]))
        # Once, and only when nobody waits: what is timed is over, and measuring takes about two seconds.
        if not self._peak_measured and not cancelled():
            self._peak_measured = True
            if pair.target.card.device == "cpu":
                self._report_peak(pair, measured_peak_bandwidth())
            else:
                self._report_device_peak(pair)


def _prompt(pair: Pair, command: Run) -> str | Conversation:
    """What is decoded: a text to be continued, or a conversation to be answered."""
    from fastdraft_core.models.conversation import Conversation

    prompt = pair.given(command.prompt, chat=command.chat)
    if isinstance(prompt, Conversation):
        return replace(prompt, earlier=command.earlier, system=command.system)
    return prompt


def compare(pair: Pair, request: Request, gamma: int, ar: RunFinished, sd: RunFinished) -> Compared:
    """The measured speed-up of two runs of one request, where the time went, and where greedy texts part."""
    from fastdraft_core.decoding.explain import why_slower
    from fastdraft_core.metrics import block_cost

    baseline = ar.metrics.tokens_per_second
    identical = ar.ids == sd.ids if request.sampling.greedy else None
    return Compared(
        speedup=sd.metrics.tokens_per_second / baseline if baseline else 0.0,
        identical=identical,
        parted=_parting(pair, request, gamma, ar.ids, sd.ids) if identical is False else None,
        cost=block_cost(ar.metrics, sd.metrics),
        slower=why_slower(ar.metrics, sd.metrics),
    )


def _parting(pair: Pair, request: Request, gamma: int, ar: list[int], sd: list[int]) -> NearTie | None:
    from fastdraft_core.decoding.losslessness import parting
    from fastdraft_core.decoding.rounding import measure_rounding

    calibration = replace(request, max_new_tokens=min(request.max_new_tokens, _CALIBRATION_TOKENS))
    noise = measure_rounding(pair.target, [calibration], gamma)
    return parting(pair.target, request, ar, sd, noise.floor)


def main() -> None:
    """Serve the process that started this one, until it closes our standard input."""
    if sys.stdin is None or sys.stdout is None or sys.stderr is None:
        sys.exit("The engine reads commands from standard input and writes events to standard output: open both.")
    logging.basicConfig(filename=places.log_file("engine"), level=logging.INFO, format="%(asctime)s %(message)s")
    # What libraries print must not mix with the events.
    output = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def emit(event: Event) -> None:
        output.write(encode(event))
        output.flush()

    engine = Engine(emit)
    emit(this_machine())
    # A reader of our own: sys.stdin, which waits for a line, could not be closed at the end.
    commands = os.fdopen(os.dup(sys.stdin.fileno()), "rb")
    threading.Thread(target=engine.read, args=(commands,), daemon=True).start()
    with contextlib.suppress(BrokenPipeError, KeyboardInterrupt):
        engine.serve()


if __name__ == "__main__":
    main()
