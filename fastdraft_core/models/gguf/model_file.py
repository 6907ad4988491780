"""A model as GGUF: one file, or all the files that it was split into, and what their headers tell of it."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from fastdraft_core.errors import FastdraftError
from fastdraft_core.models.gguf.header import Metadata, TensorInfo, Value, read_header
from fastdraft_core.models.gguf.quantization import file_type_name

#: ``name-00001-of-00003.gguf``, as llama.cpp names the parts of a model.
_PART = re.compile(r"^(?P<name>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf$", re.IGNORECASE)

_MOST_PARTS = 1000


@dataclass(frozen=True, slots=True)
class GgufModel:
    """The metadata of the first file, and the tensors of all ``files`` by their names."""

    files: tuple[Path, ...]
    metadata: Metadata
    tensors: dict[str, TensorInfo]

    @property
    def file(self) -> Path:
        """The first file: the one that errors name."""
        return self.files[0]

    @property
    def architecture(self) -> str:
        """llama.cpp's name of the architecture, such as ``llama``.

        Raises:
            FastdraftError: the file does not say it.
        """
        return self.text("general.architecture")

    @property
    def quantization(self) -> str:
        """Such as ``Q4_K_M``: what the file says, else the type of most of its weights."""
        if told := file_type_name(self.metadata.get("general.file_type")):
            return told
        sizes: dict[str, int] = {}
        for tensor in self.tensors.values():
            sizes[tensor.type.name] = sizes.get(tensor.type.name, 0) + tensor.size
        return max(sizes, key=sizes.__getitem__, default="")

    @property
    def parameters(self) -> int:
        """Weights in all tensors."""
        return sum(tensor.size for tensor in self.tensors.values())

    @property
    def num_bytes(self) -> int:
        """Bytes of all files."""
        return sum(file.stat().st_size for file in self.files)

    # --- typed metadata -----------------------------------------------------------------------

    def text(self, key: str, default: str | None = None) -> str:
        """The text at ``key``.

        Raises:
            FastdraftError: it is missing and there is no ``default``, or it is no text.
        """
        found = self._value(key, default)
        if not isinstance(found, str):
            raise self._wrong(key, "text", found)
        return found

    def integer(self, key: str, default: int | None = None) -> int:
        """The integer at ``key``; of an array all of whose elements are equal, that element.

        Raises:
            FastdraftError: it is missing and there is no ``default``, or it is no integer.
        """
        found = self._value(key, default)
        # A number for each layer, which most models have all equal.
        if not isinstance(found, str | int | float) and len(set(found)) == 1:
            found = found[0]
        if not isinstance(found, int) or isinstance(found, bool):
            raise self._wrong(key, "one integer", found)
        return found

    def number(self, key: str, default: float | None = None) -> float:
        """The number at ``key``.

        Raises:
            FastdraftError: it is missing and there is no ``default``, or it is no number.
        """
        found = self._value(key, default)
        if not isinstance(found, int | float) or isinstance(found, bool):
            raise self._wrong(key, "a number", found)
        return float(found)

    def flag(self, key: str, default: bool) -> bool:
        """The truth value at ``key``.

        Raises:
            FastdraftError: it is something else.
        """
        found = self._value(key, default)
        if not isinstance(found, bool):
            raise self._wrong(key, "true or false", found)
        return found

    def texts(self, key: str) -> list[str]:
        """The texts at ``key``; empty where there is no such key.

        Raises:
            FastdraftError: it is something else.
        """
        found = self.metadata.get(key, [])
        if not isinstance(found, list):
            raise self._wrong(key, "a list of texts", found)
        return found

    def numbers(self, key: str) -> list[float]:
        """The numbers at ``key``; empty where there is no such key.

        Raises:
            FastdraftError: it is something else.
        """
        found = self.metadata.get(key, [])
        if isinstance(found, str | int | float) or (isinstance(found, list) and found):
            raise self._wrong(key, "a list of numbers", found)
        return list(found)

    def _value(self, key: str, default: Value | None) -> Value:
        found = self.metadata.get(key, default)
        if found is None:
            raise FastdraftError(f"{self.file} lacks {key!r} in its header, so it cannot be used. Download it again.")
        return found

    def _wrong(self, key: str, expected: str, found: object) -> FastdraftError:
        shown = repr(found)[:60]
        return FastdraftError(f"{self.file} has {shown} for {key!r}, where {expected} belongs. Download it again.")


def read_model(file: Path, *, without: Collection[str] = ()) -> GgufModel:
    """The model that ``file`` holds, or is a part of. The arrays named in ``without`` are left out.

    Raises:
        FastdraftError: a file is missing, damaged, or no GGUF file.
    """
    files = parts(file)
    missing = [part.name for part in files if not part.is_file()]
    if missing:
        raise FastdraftError(
            f"{file.parent} lacks {', '.join(missing)}: the model is split. Copy the missing files too."
        )
    headers = [read_header(part, without=without) for part in files]
    tensors: dict[str, TensorInfo] = {}
    for header in headers:
        for tensor in header.tensors:
            if tensor.name in tensors:
                raise FastdraftError(f"{header.file} and {tensors[tensor.name].file} both hold {tensor.name!r}.")
            tensors[tensor.name] = tensor
    model = GgufModel(tuple(files), headers[0].metadata, tensors)
    if (count := model.integer("split.count", 1)) > len(files):
        raise FastdraftError(
            f"{file} is one of {count} files of a model and is not named so. Name them NAME-00001-of-{count:05}.gguf and so on."
        )
    return model


def parts(file: Path) -> list[Path]:
    """All files of the model that ``file`` belongs to, in order, whether they are there or not."""
    found = _PART.match(file.name)
    count = int(found["count"]) if found else 0
    if not found or not 1 <= int(found["number"]) <= count <= _MOST_PARTS:
        return [file]
    return [file.with_name(f"{found['name']}-{number:05}-of-{count:05}.gguf") for number in range(1, count + 1)]


def is_later_part(file: Path) -> bool:
    """Whether ``file`` is a part of a split model, and not the first."""
    return parts(file)[0] != file
