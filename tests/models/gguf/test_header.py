"""Bad files: one clear sentence each, at once, and nothing half-written is left."""

from __future__ import annotations

import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import gguf
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fastdraft_core import places
from fastdraft_core.errors import FastdraftError
from fastdraft_core.models.folders import local_folder
from fastdraft_core.models.gguf.facts import gguf_facts
from fastdraft_core.models.gguf.header import read_header
from fastdraft_core.models.gguf.importing import import_model
from fastdraft_core.models.gguf.model_file import GgufModel, read_model
from fastdraft_core.models.gguf.quantization import TENSOR_TYPES, file_type_name
from tests.models.gguf.writing import KINDS, Kind, Vocabulary, byte_level, untrained, write_model

#: Files of fuzzed headers: enough to meet every field, few enough for a build.
EXAMPLES = 150


def quiet(step: str) -> None:
    """Nobody listens."""
    del step


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A file that can be imported."""
    return write(tmp_path_factory.mktemp("whole") / "whole.gguf").read_bytes()


def write(path: Path, vocabulary: Vocabulary | None = None) -> Path:
    vocabulary = vocabulary or byte_level("gpt-2")
    kind = Kind("llama", gguf.MODEL_ARCH.LLAMA)
    return write_model(path, kind, untrained(kind, len(vocabulary.tokens)), vocabulary)


def without(vocabulary: Vocabulary, **changes: object) -> Vocabulary:
    return Vocabulary(**{**vars(vocabulary), **changes})  # type: ignore[arg-type]


def refused(file: Path, because: str) -> None:
    """Importing says why in a sentence, and leaves no folder."""
    with pytest.raises(FastdraftError, match=because):
        import_model(file, "bad", quiet)
    assert list((places.cache() / "gguf").glob("*")) == []
    assert gguf_facts(file) is None or "tokenizer" in because or "template" in because


def test_the_tables_are_those_of_the_gguf_package() -> None:
    """The app reads headers without numpy, so the types stand in our own tables."""
    theirs = {int(kind): (kind.name, *sizes) for kind, sizes in gguf.GGML_QUANT_SIZES.items()}
    ours = {number: (kind.name, kind.block, kind.size) for number, kind in TENSOR_TYPES.items()}
    assert {number: ours.get(number) for number in theirs} == theirs
    for kind in gguf.LlamaFileType:
        if kind != gguf.LlamaFileType.GUESSED:
            assert file_type_name(int(kind)) == kind.name.removeprefix("MOSTLY_").removeprefix("ALL_")


BYTES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda data: b"", "is empty"),
    "another kind of file": (lambda data: b"PK" + data[2:], "no GGUF file"),
    "version 1": (lambda data: data[:4] + struct.pack("<I", 1) + data[8:], "version 1"),
    "big-endian": (lambda data: data[:4] + struct.pack(">I", 3) + data[8:], "big-endian"),
    "cut within the magic": (lambda data: data[:3], "no GGUF file"),
    "cut within the header": (lambda data: data[:100], "cut off"),
    "cut within the weights": (lambda data: data[:-1000], "is cut off: .* Copy or download"),
    "a text of 4 GB": (lambda data: data[:24] + struct.pack("<Q", 4 << 30) + data[32:], "asks for 4,294,967,296 bytes"),
    "2^60 keys": (lambda data: data[:16] + struct.pack("<Q", 1 << 60) + data[24:], "cut off or damaged"),
    "2^60 tensors": (lambda data: data[:8] + struct.pack("<Q", 1 << 60) + data[16:], "cut off or damaged"),
}


@pytest.mark.parametrize("what", BYTES)
def test_a_damaged_file_is_refused(what: str, whole: bytes, tmp_path: Path) -> None:
    """Truncated, of another format or version, or with lengths that no file has."""
    change, because = BYTES[what]
    file = tmp_path / "bad.gguf"
    file.write_bytes(change(whole))
    refused(file, because)


def test_an_unknown_quantization_is_refused(whole: bytes, tmp_path: Path) -> None:
    """A type from a newer llama.cpp is named, not guessed at."""
    name = b"output_norm.weight"
    place = whole.index(struct.pack("<Q", len(name)) + name) + 8 + len(name) + 4 + 8
    file = tmp_path / "new.gguf"
    file.write_bytes(whole[:place] + struct.pack("<I", 77) + whole[place + 4 :])
    refused(file, r"not known here \(type 77\)")


def test_a_header_that_contradicts_the_tensors_is_refused(tmp_path: Path) -> None:
    """Another width, more layers or heads than there are."""
    for number, (key, value, because) in enumerate(
        (
            ("llama.feed_forward_length", 80, r"'blk.0.ffn_gate.weight' with the shape \[96, 64\]"),
            ("llama.block_count", 3, "lacks the tensor 'blk.2"),
            ("llama.attention.head_count", 0, "0 heads"),
            ("llama.attention.head_count", "four", "one integer belongs"),
            ("llama.rope.dimension_count", 4, "rotates 4 of 16"),
            ("llama.rope.scaling.type", "spiral", "'spiral'"),
            ("llama.expert_count", 8, "expert count"),
            ("general.architecture", "mamba", "architecture 'mamba'.*can be imported: gemma2, gemma3"),
        )
    ):
        refused(rewritten(tmp_path / f"{number}.gguf", key, value), because)


def rewritten(path: Path, key: str, value: object) -> Path:
    """A file with another value of one key."""
    from gguf import GGUFWriter

    header = read_header(write(path.with_suffix(".whole")))
    writer = GGUFWriter(path, str(header.metadata["general.architecture"]))
    writer.kv_data[0].clear()
    for name, old in ({**header.metadata, key: value}).items():
        new = old if isinstance(old, str | int | float | list) else list(old)
        writer.add_key_value(name, new, kind_of(new))
    reader = gguf.GGUFReader(header.file)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, tensor.data)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def kind_of(value: object) -> gguf.GGUFValueType:
    found = gguf.GGUFValueType.get_type(value)
    return gguf.GGUFValueType.UINT32 if found == gguf.GGUFValueType.INT32 else found


def test_a_tokenizer_that_cannot_be_built_is_refused(tmp_path: Path) -> None:
    """Without merges every letter would be a token; another pre-tokenizer would give other ids; both are named."""
    tokens = byte_level("gpt-2")
    cases = {
        "tokenizer without merges": without(tokens, merges=[]),
        "tokenizer that contradicts itself": without(tokens, merges=["not there"]),
        "tokenizer of the kind 'rwkv'": without(tokens, model="rwkv"),
        "'from-the-future', which is not known": without(tokens, more={"tokenizer.ggml.pre": "from-the-future"}),
        "twice": without(tokens, tokens=[*tokens.tokens[:-4], tokens.tokens[-5], *tokens.tokens[-3:]]),
        "chat template that does not parse": without(
            tokens, more={**tokens.more, "tokenizer.chat_template": "{% for message in %}"}
        ),
    }
    for number, (because, vocabulary) in enumerate(cases.items()):
        file = write(tmp_path / f"{number}.gguf", vocabulary)
        with pytest.raises(FastdraftError, match=because):
            import_model(file, "bad", quiet)
    assert list((places.cache() / "gguf").glob("*")) == []


@settings(max_examples=EXAMPLES, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data())
def test_no_header_makes_more_than_a_sentence(whole: bytes, tmp_path: Path, data: st.DataObject) -> None:
    """Bytes of the header are changed, and the file cut, at random: it can still be read, or a sentence says why not."""
    end = min(tensor.start for tensor in read_whole(whole, tmp_path).tensors.values())
    content = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, end - 8))
        kind, number = data.draw(st.sampled_from(["<B", "<I", "<Q"])), data.draw(st.integers(0, 2**64 - 1))
        patch = struct.pack(kind, number % 2 ** (8 * struct.calcsize(kind)))
        content[place : place + len(patch)] = patch
    file = tmp_path / "fuzzed.gguf"
    file.write_bytes(content[: data.draw(st.one_of(st.just(len(content)), st.integers(0, len(content))))])
    with suppress(FastdraftError):
        assert (import_model(file, "fuzzed", quiet, weights=False) / "config.json").is_file()
    assert list((places.cache() / "gguf").glob("*.building*")) == []


def read_whole(whole: bytes, folder: Path) -> GgufModel:
    file = folder / "whole.gguf"
    if not file.is_file():
        file.write_bytes(whole)
    return read_model(file)


def test_an_interrupted_import_leaves_nothing(whole: bytes, tmp_path: Path) -> None:
    """Stopped half-way, the next import begins anew and is whole."""
    file = tmp_path / "model.gguf"
    file.write_bytes(whole)

    def stop(step: str) -> None:
        if "50 %" in step:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_model(file, "model", stop)
    assert list((places.cache() / "gguf").glob("*")) == []
    steps: list[str] = []
    folder = local_folder(str(file), report=steps.append)
    assert any(step.startswith(f"importing {file}: ") for step in steps)
    assert folder == local_folder(str(file), report=steps.clear)
    assert (folder / "model.safetensors").is_file()


def test_a_split_model_is_one(whole: bytes, tmp_path: Path) -> None:
    """Any of its files names it; a missing one is told by its name."""
    file = tmp_path / "model.gguf"
    file.write_bytes(whole)
    first, second = split(file)
    assert local_folder(str(second), report=quiet) == local_folder(str(first), report=quiet)
    assert set(read_model(second).tensors) == set(read_model(file).tensors)
    second.unlink()
    with pytest.raises(FastdraftError, match=r"lacks model-00002-of-00002\.gguf"):
        read_model(first)


def split(file: Path) -> tuple[Path, Path]:
    """The model in two files, as llama.cpp splits one."""
    reader, header = gguf.GGUFReader(file), read_header(file)
    paths = tuple(file.with_name(f"model-0000{number}-of-00002.gguf") for number in (1, 2))
    for number, path in enumerate(paths):
        writer = gguf.GGUFWriter(path, "llama")
        if number == 0:
            writer.kv_data[0].clear()
            for key, old in header.metadata.items():
                new = old if isinstance(old, str | int | float | list) else list(old)
                writer.add_key_value(key, new, kind_of(new))
        writer.add_uint16("split.no", number)
        writer.add_uint16("split.count", 2)
        for tensor in reader.tensors[number::2]:
            writer.add_tensor(tensor.name, tensor.data)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
    return paths[0], paths[1]


def test_quantized_weights_are_what_the_gguf_package_makes_of_them(tmp_path: Path) -> None:
    """Every type that it can read, over more rows than are in memory at a time."""
    import numpy as np
    from safetensors.torch import load_file

    kind = KINDS["qwen2"]
    vocabulary = byte_level("gpt-2")
    model = untrained(kind, len(vocabulary.tokens))
    for kind_of_weights in (
        gguf.GGMLQuantizationType.Q4_0,
        gguf.GGMLQuantizationType.Q8_0,
        gguf.GGMLQuantizationType.BF16,
    ):
        file = write_model(
            tmp_path / f"{kind_of_weights.name}.gguf", kind, model, vocabulary, quantized=kind_of_weights
        )
        there = load_file(import_model(file, kind_of_weights.name, quiet) / "model.safetensors")
        tensor = next(one for one in gguf.GGUFReader(file).tensors if one.name == "token_embd.weight")
        expected = gguf.dequantize(tensor.data, tensor.tensor_type)
        found = there["model.embed_tokens.weight"].float().numpy()
        assert np.abs(found - expected).max() <= np.abs(expected).max() * 2**-8
