"""The header of a GGUF file, read and checked before anything trusts it: metadata and where the tensors lie.

Every length is compared with the bytes that are left before it is used, so a damaged or hostile file costs an error and
no memory. No numpy: the app's lists read headers too.
"""

from __future__ import annotations

import mmap
import struct
from array import array
from collections.abc import Collection
from dataclasses import dataclass
from math import prod
from pathlib import Path

from fastdraft_core.errors import FastdraftError
from fastdraft_core.models.gguf.quantization import TENSOR_TYPES, TensorType

Scalar = str | int | float | bool
#: What a key of the metadata may hold; an array of text is a list, one of numbers an ``array.array``.
Value = Scalar | list[str] | array  # type: ignore[type-arg]
Metadata = dict[str, Value]

_MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_DEFAULT_ALIGNMENT = 32
_STRING, _ARRAY, _BOOL = 8, 9, 7
#: Types of numbers: what ``struct`` and ``array`` call them.
_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
#: The fewest bytes that an entry of the metadata, and the description of a tensor, can take.
_SMALLEST_ENTRY, _SMALLEST_TENSOR = 8 + 4 + 1, 8 + 4 + 8 + 4 + 8
_MOST_DIMENSIONS = 4


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """A tensor: its rows first, as numpy has shapes; ``start`` is the place of its first byte in ``file``."""

    name: str
    shape: tuple[int, ...]
    type: TensorType
    number: int
    file: Path
    start: int

    @property
    def size(self) -> int:
        """Weights in it."""
        return prod(self.shape)

    @property
    def num_bytes(self) -> int:
        """Bytes that it takes in the file."""
        return self.size // self.type.block * self.type.size


@dataclass(frozen=True, slots=True)
class Header:
    """What one file tells of itself."""

    file: Path
    version: int
    metadata: Metadata
    tensors: tuple[TensorInfo, ...]


def read_header(file: Path, *, without: Collection[str] = ()) -> Header:
    """The header of ``file``; the arrays named in ``without`` are stepped over and left out.

    Raises:
        FastdraftError: it cannot be read, is no GGUF file of a version that is known, or is damaged or cut off.
    """
    try:
        with file.open("rb") as opened:
            if not file.stat().st_size:
                raise FastdraftError(f"{file} is empty. Copy or download it again.")
            with mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return _Reader(file, data, frozenset(without)).header()
    except OSError as error:
        raise FastdraftError(f"{file} cannot be read ({error.strerror or error}).") from error


class _Reader:
    """A place in the bytes of a file that only moves forward, and never past their end."""

    def __init__(self, file: Path, data: mmap.mmap, without: frozenset[str]) -> None:
        self._file = file
        self._data = data
        self._size = len(data)
        self._at = 0
        self._without = without

    def header(self) -> Header:
        version = self._version()
        num_tensors, num_entries = self._integer("Q"), self._integer("Q")
        self._expect(num_entries * _SMALLEST_ENTRY + num_tensors * _SMALLEST_TENSOR)
        metadata: Metadata = {}
        seen: set[str] = set()
        for _ in range(num_entries):
            key = self._text()
            if key in seen:
                raise self._damaged(f"it has the key {key!r} twice")
            seen.add(key)
            value = self._value(self._integer("I"), skip=key in self._without)
            if value is not None:
                metadata[key] = value
        described = [self._tensor() for _ in range(num_tensors)]
        begin = _aligned(self._at, self._alignment(metadata))
        tensors = tuple(self._placed(begin, *one) for one in described)
        if len({tensor.name for tensor in tensors}) < len(tensors):
            raise self._damaged("it has two tensors of one name")
        return Header(self._file, version, metadata, tensors)

    def _version(self) -> int:
        if self._data[:4] != _MAGIC:
            raise FastdraftError(f"{self._file} is no GGUF file: it does not begin with {_MAGIC.decode()!r}.")
        self._at = 4
        version = self._integer("I")
        if version & 0xFFFF == 0:
            raise FastdraftError(
                f"{self._file} is a GGUF file for big-endian machines. Use one that was made for little-endian ones."
            )
        if version not in _VERSIONS:
            raise FastdraftError(
                f"{self._file} is a GGUF file of version {version}, and versions 2 and 3 can be read. Convert the model "
                "again with a newer llama.cpp, or download a newer file of it."
            )
        return version

    def _value(self, kind: int, *, skip: bool = False) -> Value | None:
        if kind == _STRING:
            return self._text()
        if kind == _ARRAY:
            return self._array(skip=skip)
        if kind in _NUMBERS:
            return self._number(_NUMBERS[kind])
        raise self._damaged(f"a value has the unknown type {kind}")

    def _array(self, *, skip: bool) -> Value | None:
        kind, length = self._integer("I"), self._integer("Q")
        if kind == _STRING:
            self._expect(8 * length)
            found = self._texts(length)
            return None if skip else [self._decoded(text) for text in found]
        if kind not in _NUMBERS:
            raise self._damaged(f"an array has elements of the unusable type {kind}")
        code = "B" if kind == _BOOL else _NUMBERS[kind]
        # Of ``array`` itself the sizes of I and i are the machine's; they are four bytes wherever Python runs today.
        content = self._take(length * struct.calcsize(f"<{code}"))
        return None if skip else array(code, content)

    def _tensor(self) -> tuple[str, list[int], int, int]:
        """Name, dimensions with the shortest stride first, type and offset."""
        name, count = self._text(), self._integer("I")
        if not 1 <= count <= _MOST_DIMENSIONS:
            raise self._damaged(f"the tensor {name!r} has {count} dimensions")
        return name, [self._integer("Q") for _ in range(count)], self._integer("I"), self._integer("Q")

    def _placed(self, begin: int, name: str, dimensions: list[int], number: int, offset: int) -> TensorInfo:
        kind = TENSOR_TYPES.get(number)
        if kind is None:
            raise FastdraftError(
                f"{self._file} stores {name!r} in a quantization that is not known here (type {number}). Use a file of the "
                "same model in another one, such as Q4_K_M or Q8_0."
            )
        if not all(dimensions) or dimensions[0] % kind.block:
            raise self._damaged(f"the tensor {name!r} of shape {dimensions} cannot be stored as {kind.name}")
        tensor = TensorInfo(name, tuple(reversed(dimensions)), kind, number, self._file, begin + offset)
        if tensor.start + tensor.num_bytes > self._size:
            raise FastdraftError(
                f"{self._file} is cut off: {name!r} ends at byte {tensor.start + tensor.num_bytes:,} and the file has "
                f"{self._size:,} bytes. Copy or download it again."
            )
        return tensor

    def _alignment(self, metadata: Metadata) -> int:
        found = metadata.get("general.alignment", _DEFAULT_ALIGNMENT)
        if not isinstance(found, int) or found < 1 or found & (found - 1):
            raise self._damaged(f"its alignment is {found!r}, no power of two")
        return found

    def _texts(self, count: int) -> list[bytes]:
        """Hundreds of thousands of tokens and merges: the place is kept in a local name."""
        length_at, at, found = struct.Struct("<Q").unpack_from, self._at, []
        for _ in range(count):
            end = at + 8
            if end <= self._size:
                end += length_at(self._data, at)[0]
            if end > self._size:
                self._at = at
                self._expect(end - at)
            found.append(self._data[at + 8 : end])
            at = end
        self._at = at
        return found

    def _text(self) -> str:
        return self._decoded(self._take(self._integer("Q")))

    def _decoded(self, text: bytes) -> str:
        try:
            return text.decode()
        except UnicodeDecodeError as error:
            raise self._damaged("it holds text that is not UTF-8") from error

    def _integer(self, code: str) -> int:
        return int(self._number(code))

    def _number(self, code: str) -> int | float | bool:
        size = struct.calcsize(f"<{code}")
        self._expect(size)
        (found,) = struct.unpack_from(f"<{code}", self._data, self._at)
        self._at += size
        return found  # type: ignore[no-any-return]

    def _take(self, length: int) -> bytes:
        self._expect(length)
        found = self._data[self._at : self._at + length]
        self._at += length
        return found

    def _expect(self, length: int) -> None:
        if length > self._size - self._at:
            raise FastdraftError(
                f"{self._file} is cut off or damaged: its header asks for {length:,} bytes at byte {self._at:,} of "
                f"{self._size:,}. Copy or download it again."
            )

    def _damaged(self, why: str) -> FastdraftError:
        return FastdraftError(f"{self._file} is a damaged GGUF file: {why}. Copy or download it again.")


def _aligned(place: int, alignment: int) -> int:
    return -(-place // alignment) * alignment
