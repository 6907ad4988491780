"""An exported folder onto the Hugging Face hub, with the token that its own tools use."""

from __future__ import annotations

import re
from pathlib import Path

from fastdraft_core.errors import FastdraftError, short_error

_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def check_push(name: str) -> None:
    """See that a push to ``name`` can begin, before hours of work are spent on what is to be pushed. Asks no network.

    Raises:
        FastdraftError: it is no id of the hub, there is no token, or the hub's library is told to stay offline.
    """
    from huggingface_hub import constants, get_token

    if not _NAME.fullmatch(name):
        raise FastdraftError(f"--push {name!r} is no id of the hub; write owner/name.")
    if constants.HF_HUB_OFFLINE:
        raise FastdraftError(f"{name} cannot be pushed: HF_HUB_OFFLINE is set. Unset it, or leave --push out.")
    if not get_token():
        raise FastdraftError(
            f"{name} cannot be pushed: there is no token of the Hugging Face hub. Log in with `hf auth login`, or set HF_TOKEN."
        )


def push(folder: Path, name: str, *, public: bool = False) -> str:
    """Upload the files of ``folder`` to the model ``name`` (``owner/name``), which is made where it is absent. Returns its address.

    A model that is made is private, unless ``public``; one that is there keeps who may see it.

    Raises:
        FastdraftError: the hub refuses or cannot be reached; the folder stays as it is.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.utils import disable_progress_bars

    disable_progress_bars()
    api = HfApi()
    try:
        made = api.create_repo(name, private=not public, exist_ok=True)
        api.upload_folder(repo_id=name, folder_path=folder, commit_message="Export by fastdraft")
    except Exception as error:
        # Of a broken connection the hub's library lets through the errors of the one below it.
        raise FastdraftError(_words(folder, name, error)) from error
    return str(made)


def _words(folder: Path, name: str, error: Exception) -> str:
    from huggingface_hub.errors import HfHubHTTPError

    again = f"{folder} is whole; `hf upload {name} {folder}` pushes it later"
    code = getattr(getattr(error, "response", None), "status_code", None) if isinstance(error, HfHubHTTPError) else None
    if code in (401, 403, 404):
        return (
            f"The hub does not let this token write to {name} ({code}). Log in with `hf auth login` and a token that may write there, "
            f"or push to a name of your own. {again}."
        )
    if code is not None:
        return f"The hub answered {code} to the push of {name}. {again}."
    return f"{name} cannot be pushed: the hub cannot be reached ({short_error(error)}). {again}."
