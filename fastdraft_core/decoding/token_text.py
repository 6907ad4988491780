"""The text of one token on its own: what a list of candidates shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


class Pieces:
    r"""Texts of single ids, special tokens by name, remembered.

    A decoder may drop the space before the first word it sees, so every id is read after another one. An
    id that is only a part of a character is shown by its bytes: ``\xe2\x80``.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        anchors = tokenizer("a", add_special_tokens=False).input_ids
        self._anchor: list[int] = list(anchors[-1:])
        self._before = self._decode(self._anchor)
        self._known: dict[int, str] = {}

    def __call__(self, token: int) -> str:
        """The text of ``token``."""
        if token not in self._known:
            self._known[token] = self._read(token)
        return self._known[token]

    def _read(self, token: int) -> str:
        text = self._decode([*self._anchor, token]).removeprefix(self._before)
        if _REPLACEMENT not in text:
            return text
        piece = str(self._tokenizer.convert_ids_to_tokens(token))
        # Sentencepiece names its bytes itself: <0xE2>.
        return "".join(_ESCAPES.get(letter, letter) for letter in piece) if not piece.startswith("<0x") else piece

    def _decode(self, ids: list[int]) -> str:
        return self._tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)


def _escapes() -> dict[str, str]:
    """From the letters that byte-level BPE writes bytes with (Radford et al. 2019, GPT-2) to escapes of those beyond ASCII."""
    letters = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(0x100) if byte not in letters]
    written = {**{chr(byte): byte for byte in letters}, **{chr(0x100 + n): byte for n, byte in enumerate(others)}}
    return {letter: f"\\x{byte:02x}" if byte > 0x7E else chr(byte) for letter, byte in written.items()}


_ESCAPES = _escapes()
