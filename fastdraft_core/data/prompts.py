"""What the target is given to continue: prefixes of the corpus, instructions of others, or its own (Magpie)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from fastdraft_core.data.generation import Batch
from fastdraft_core.data.mixtures import interleave
from fastdraft_core.data.shards import Shard
from fastdraft_core.data.writers import Writer
from fastdraft_core.errors import FastdraftError
from fastdraft_core.models.prompt_ids import chat_ids, chat_text, text_ids

#: Batches whose instructions are sorted by length together.
_WINDOW = 16
#: Shares are kept over so many turns exactly.
_CYCLE = 1000
#: The longest instruction that the target may invent, in tokens.
_INVENTED_TOKENS = 256
#: A document that begins farther off than this is not gone to.
_AHEAD = 1 << 14
#: Tokens of each source that the first prompts are drawn from. Later ones are drawn from the next power of two above so many
#: times what their prefixes take.
MATERIAL_TOKENS, _MATERIAL_TIMES = 1 << 18, 8
#: Stands for a user's words in a template; no template holds it.
_MARK = "fastdraft-user-words"


@dataclass(frozen=True, slots=True)
class Prompt:
    """The ids to continue, under a name that a resumed synthesis knows again; or why there are none."""

    id: str
    ids: list[int]
    skipped: str = ""


class Prompts(Protocol):
    """One kind of prompts."""

    def batch(self, number: int, size: int) -> list[Prompt]:
        """Batch ``number`` of ``size`` prompts, the same whenever it is asked for."""
        ...


class Shares:
    """Takes turns among parts by their ``weights``: evenly spread, and exact over a thousand turns."""

    def __init__(self, weights: Sequence[float]) -> None:
        self._turns = interleave(list(weights), _CYCLE)
        self._counts = np.bincount(self._turns, minlength=len(weights))

    def at(self, turn: int) -> tuple[int, int]:
        """Whose turn it is, and how many it had before."""
        cycle, within = divmod(turn, _CYCLE)
        part = int(self._turns[within])
        return part, cycle * int(self._counts[part]) + int((self._turns[:within] == part).sum())


class Template:
    """A tokenizer's chat template; text as it is where there is none."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self.text: str | None = getattr(tokenizer, "chat_template", None)

    @property
    def digest(self) -> str:
        """16 hexadecimal digits over the template; empty where there is none."""
        return hashlib.sha256(str(self.text).encode()).hexdigest()[:16] if self.text else ""

    @property
    def vocab_size(self) -> int:
        """The tokenizer's ids."""
        return len(self._tokenizer)

    def encode(self, text: str) -> list[int]:
        """The ids after which the answer to ``text`` begins.

        Raises:
            FastdraftError: the template cannot be applied.
        """
        if not self.text:
            return text_ids(self._tokenizer, text)
        return chat_ids(self._tokenizer, text, "the target")

    def decode(self, ids: Sequence[int]) -> str:
        """Ids as text, special ones left out."""
        return str(self._tokenizer.decode(ids, skip_special_tokens=True)).strip()

    def around(self) -> tuple[list[int], list[int]]:
        """The ids before a user's words and those behind them, up to where the answer begins.

        Raises:
            FastdraftError: the template cannot be applied, or does not begin with something of its own, so nothing could be invented after it.
        """
        whole = chat_text(self._tokenizer, _MARK, "the target")
        before, mark, behind = whole.partition(_MARK)
        if not mark or not before:
            raise FastdraftError(
                "The target's chat template has nothing before the user's words, from which it could invent an instruction. "
                "Set synthesis.magpie = 0 and use instructions."
            )
        first, second = (self._tokenizer(text, add_special_tokens=False).input_ids for text in (before, behind))
        return list(first), list(second)


@dataclass(frozen=True, slots=True)
class Prefixes:
    """Prefixes of the corpus, half of them from where a document begins; all of a batch have one length.

    ``longer`` gives the shards as far as so many tokens. They grow with the number of prompts, so that early prompts do not
    depend on how many will be asked for, and late ones do not repeat them.

    Raises:
        FastdraftError: a shard is not longer than the longest of ``lengths``.
    """

    shards: list[Shard]
    weights: list[float]
    lengths: Sequence[int]
    seed: int
    longer: Callable[[int], list[Shard]] | None = None

    def __post_init__(self) -> None:
        for shard in self.shards:
            if len(shard.tokens) <= max(self.lengths):
                raise FastdraftError(
                    f"Source {shard.index.source!r} has a side of {len(shard.tokens):,} tokens ({shard.folder.name}), too few "
                    f"for prefixes of {max(self.lengths)}. Shorten synthesis.prefix_tokens or add data."
                )

    def batch(self, number: int, size: int) -> list[Prompt]:
        """As ``Prompts`` says."""
        rng = np.random.default_rng([self.seed, number])
        length = self.lengths[number % len(self.lengths)]
        shards = self.shards
        if self.longer and (wanted := _material((number + 1) * size * max(self.lengths))) > MATERIAL_TOKENS:
            shards = self.longer(wanted)
        drawn = draw_prefixes(shards, self.weights, size, length, rng).tolist()
        return [Prompt(f"prefix/{number * size + n}", ids) for n, ids in enumerate(drawn)]


class Instructions:
    """Instructions of several sets by ``weights``, each set in an order of its own, again and again.

    One that is longer than ``limit`` tokens inside the template is skipped.
    """

    def __init__(
        self, sets: Mapping[str, Sequence[str]], weights: Sequence[float], template: Template, limit: int, seed: int
    ) -> None:
        self._names, self._texts, self._shares = list(sets), list(sets.values()), Shares(weights)
        self._template, self._limit, self._seed = template, limit, seed
        self._orders: dict[tuple[int, int], npt.NDArray[np.int64]] = {}
        self._window: tuple[tuple[int, int], list[Prompt]] = (-1, -1), []

    def batch(self, number: int, size: int) -> list[Prompt]:
        """As ``Prompts`` says; those of a batch are of about one length."""
        window, within = divmod(number, _WINDOW)
        if self._window[0] != (window, size):
            first = window * _WINDOW * size
            drawn = [self._prompt(turn) for turn in range(first, first + _WINDOW * size)]
            self._window = (window, size), sorted(drawn, key=lambda prompt: len(prompt.ids))
        return self._window[1][within * size : (within + 1) * size]

    def _prompt(self, turn: int) -> Prompt:
        which, before = self._shares.at(turn)
        texts = self._texts[which]
        epoch, place = divmod(before, len(texts))
        if (which, epoch) not in self._orders:
            rng = np.random.default_rng([self._seed, which, epoch])
            self._orders[which, epoch] = rng.permutation(len(texts))
        row = int(self._orders[which, epoch][place])
        ids = self._template.encode(texts[row])
        name = f"{self._names[which]}/{row}/{epoch}"
        return Prompt(name, ids) if 0 < len(ids) <= self._limit else Prompt(name, [], "too long")


class Magpie:
    """Instructions that the target itself invents after the beginning of its chat template, at temperature 1.

    Xu et al., 2024 (Magpie): an aligned model that is shown where a user would speak writes what a user would say.
    """

    def __init__(
        self,
        write: Writer,
        template: Template,
        stops: Collection[int],
        limit: int,
        refused: Any,
        seed: int,
    ) -> None:
        self._write, self._template, self._limit, self._refused, self._seed = write, template, limit, refused, seed
        self._begin, behind = template.around()
        # The user's turn ends with the template's own next words, or where the target ends a text.
        self._stops = {*stops, *behind[:1]}

    def batch(self, number: int, size: int) -> list[Prompt]:
        """As ``Prompts`` says."""
        width = self._template.vocab_size
        room = max(1, min(_INVENTED_TOKENS, self._limit - len(self._begin)))
        seed = int(np.random.default_rng([self._seed, number]).integers(1 << 62))
        rows = self._write(Batch([self._begin] * size, np.ones(size), room, self._stops, seed, width)).rows
        names = [f"magpie/{number * size + n}" for n in range(size)]
        return [self._prompt(name, row) for name, row in zip(names, rows, strict=True)]

    def _prompt(self, name: str, row: list[int] | None) -> Prompt:
        if row is None or row[-1] not in self._stops:
            return Prompt(name, [], "no end")
        text = self._template.decode(row[len(self._begin) : -1])
        if not text:
            return Prompt(name, [], "empty")
        if self._refused(text):
            return Prompt(name, [], "contaminated")
        ids = self._template.encode(text)
        return Prompt(name, ids) if len(ids) <= self._limit else Prompt(name, [], "too long")


def _material(tokens: int) -> int:
    """Tokens of a source from which prefixes of so many ``tokens`` are drawn."""
    return 1 << (_MATERIAL_TIMES * tokens - 1).bit_length()


def draw_prefixes(
    shards: list[Shard], weights: list[float], count: int, length: int, rng: np.random.Generator
) -> npt.NDArray[np.int64]:
    """``[count, length]`` ids cut from the shards, half of them from where a document begins."""
    shares = np.asarray(weights, dtype=np.float64)
    rows = []
    for source in rng.choice(len(shards), size=count, p=shares / shares.sum()):
        tokens, starts = shards[source].tokens, shards[source].starts
        start = int(rng.integers(len(tokens) - length))
        if rng.random() < 0.5:
            # The next document after a random place: one is as likely as the document before it is long.
            ahead = int(np.searchsorted(starts, start))
            if ahead < len(starts) and starts[ahead] < start + _AHEAD:
                start = min(int(starts[ahead]), len(tokens) - length)
        rows.append(np.asarray(tokens[start : start + length], dtype=np.int64))
    return np.stack(rows)
