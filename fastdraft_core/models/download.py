"""Fetch a model from the Hugging Face hub into its own cache; broken off, it goes on where it stopped."""

from __future__ import annotations

import errno
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from fastdraft_core import places
from fastdraft_core.errors import FastdraftError
from fastdraft_core.events import Progress
from fastdraft_core.models.catalog import hub_cache
from fastdraft_core.models.hub_files import LEFT_OUT, SMALL_FILES, WEIGHT_FILES, fetch, repository
from fastdraft_core.models.weights import stamp

if TYPE_CHECKING:
    from huggingface_hub import DryRunFileInfo

_FILES = [*SMALL_FILES, *WEIGHT_FILES]
#: Smaller files are not worth continuing.
_LARGE = 1 << 20
_TELL_SECONDS = 0.5
_BY_HAND = (
    "Or bring the model's folder by hand (on a machine with a network: `hf download {name} --local-dir FOLDER`) and give "
    "that folder"
)


def download(name: str, revision: str | None = None) -> Generator[Progress, None, Path]:
    """Fetch the model ``name`` (``owner/model``), telling bytes done of all. Returns the folder in the cache.

    ``revision`` is a commit of the hub; None for the newest one.

    Raises:
        FastdraftError: there is no such model, it is gated, the hub cannot be reached, or the disk is too small.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.utils import disable_progress_bars

    disable_progress_bars()
    with _in_words(name):
        files = snapshot_download(
            name, revision=revision, allow_patterns=_FILES, ignore_patterns=LEFT_OUT, dry_run=True
        )
        total = sum(file.file_size for file in files)
        here = sum(file.file_size for file in files if file.is_cached)
        blobs = repository(name) / "blobs"
        whole = {path for path in _files(blobs) if path.suffix != ".incomplete"}
        _check_room(name, total - here)
        result = _start(name, revision, [file for file in files if file.will_download and file.file_size > _LARGE])
        while True:
            try:
                done = result.get(timeout=_TELL_SECONDS)
            except Empty:
                come = here + sum(stamp(path)[0] for path in _files(blobs) if path not in whole)
                yield Progress(what=f"downloading {name}", done=min(come, total), total=total)
                continue
            if isinstance(done, BaseException):
                raise done
            yield Progress(what=f"downloaded {name}", done=total, total=total)
            return Path(done)


def _start(name: str, revision: str | None, large: list[DryRunFileInfo]) -> SimpleQueue[str | BaseException]:
    """Fetch on a thread that ends with the program, so that ctrl-c need not wait for a file of gigabytes.

    Large files come one by one with their parts kept; the hub's library fetches the rest and puts all in their places.
    """
    from huggingface_hub import snapshot_download

    result: SimpleQueue[str | BaseException] = SimpleQueue()

    def work() -> None:
        try:
            for file in large:
                fetch(name, file.filename, file.commit_hash)
            result.put(snapshot_download(name, revision=revision, allow_patterns=_FILES, ignore_patterns=LEFT_OUT))
        except BaseException as error:
            result.put(error)

    threading.Thread(target=work, daemon=True).start()
    return result


@contextmanager
def _in_words(name: str) -> Iterator[None]:
    """The hub's errors as one sentence that says what to do."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise FastdraftError(_words(name, error)) from error


def _words(name: str, error: BaseException) -> str:
    from huggingface_hub import constants
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, HFValidationError, RepositoryNotFoundError

    by_hand = _BY_HAND.format(name=name)
    # The hub's library puts errors of its own over what the hub has answered.
    chain = [error]
    while (below := chain[-1].__cause__ or chain[-1].__context__) is not None:
        chain.append(below)
    answers = [one for one in chain if isinstance(one, HfHubHTTPError)]
    if any(isinstance(one, GatedRepoError) for one in answers):
        return (
            f"{name} is gated: accept its terms on its model page, log in with `hf auth login`, and download it again. "
            f"{by_hand}."
        )
    if isinstance(error, HFValidationError) or any(isinstance(one, RepositoryNotFoundError) for one in answers):
        return f"The hub has no model {name!r}, or it is private: check the id (owner/model), or log in with `hf auth login`."
    if answers:
        code = getattr(answers[0].response, "status_code", "an error")
        return f"The hub answered {code} for {name}. What has come is kept; download it again later. {by_hand}."
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"The disk of {hub_cache()} is full. What has come is kept; free some space, or set HF_HOME to another disk."
    offline = constants.HF_HUB_OFFLINE
    why = "HF_HUB_OFFLINE is set" if offline else "the hub cannot be reached"
    mend = "Unset it" if offline else "Check the network, and download it again: what has come is kept"
    return f"{name} cannot be downloaded: {why}. {mend}. {by_hand}."


def _check_room(name: str, needed: int) -> None:
    folder = places.existing_parent(hub_cache())
    try:
        free = places.free_disk(folder)
    except OSError as error:
        raise FastdraftError(
            f"The disk of {folder} cannot be read ({error.strerror or error}). Set HF_HOME to another disk."
        ) from error
    if needed > free:
        raise FastdraftError(
            f"{name} needs {needed / 1e9:.1f} GB more and {folder} has {free / 1e9:.1f} GB free. Free some space, or set "
            "HF_HOME to another disk."
        )


def _files(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []
