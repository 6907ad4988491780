"""``fastdraft``: every screen's headless twin. Data goes to stdout, talk to stderr.

Exit codes: 0 done, 1 failed (or a check did not pass), 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import io
import logging
import os
import sys
from pathlib import Path

import msgspec
import typer
from rich.console import Console

from fastdraft_core import __version__, places
from fastdraft_core.errors import FastdraftError

app = typer.Typer(
    name="fastdraft",
    help="Train, run and measure draft models for speculative decoding.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
#: For people; ``print`` is for data.
talk = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)


def print_json(value: object) -> None:
    """``value``, such as an event, as one line of JSON on stdout, at once; in UTF-8 whatever stdout's encoding is."""
    # What was printed before stands before it.
    sys.stdout.flush()
    sys.stdout.buffer.write(msgspec.json.encode(value) + b"\n")
    sys.stdout.buffer.flush()


def _version(wanted: bool) -> None:
    if wanted:
        print(__version__)
        raise typer.Exit


@app.callback()
def _main(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Show the version."),
) -> None:
    """Train, run and measure draft models for speculative decoding."""


def _check_streams() -> None:
    """Have standard streams that can be used, whatever this process was started with.

    Raises:
        FastdraftError: standard output is closed.
    """
    if sys.stderr is None:
        # Nobody hears; what speaks may still do so.
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - open as long as the process
    if sys.stdout is None:
        raise FastdraftError("Standard output is closed, so there is nowhere to write to. Send it to a file or a pipe.")
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A character that its encoding lacks is shown by its number, as on stderr, and ends nothing.
        sys.stdout.reconfigure(errors="backslashreplace")


def main() -> None:
    """Run the command line; a failure is one sentence, its traceback goes to the log."""
    try:
        _check_streams()
        log = places.log_file("fastdraft")
        logging.basicConfig(filename=log, level=logging.INFO, format="%(asctime)s %(message)s")
    except (FastdraftError, OSError) as error:
        talk.print(
            f"fastdraft: {error.message if isinstance(error, FastdraftError) else f'No log can be written: {error}.'}"
        )
        sys.exit(1)
    from fastdraft_core.cli import (  # noqa: F401 - they register themselves
        bench,
        chat,
        design,
        doctor,
        download,
        export,
        generate,
        jobs,
        models,
        preview,
        record,
        results,
        sources,
        sweep,
        train,
        verify,
    )

    try:
        app(prog_name="fastdraft")
    except FastdraftError as error:
        logging.getLogger("fastdraft").info("refused: %s", error.message, exc_info=True)
        talk.print(f"fastdraft: {error.message}")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(0)
    except Exception as error:
        logging.getLogger("fastdraft").exception("unexpected")
        talk.print(f"fastdraft: unexpected {type(error).__name__}: {error}. The details are in {log}.")
        sys.exit(1)
