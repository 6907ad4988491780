"""The command line of ``fastdraft-app``. It imports no Textual, so ``--help`` answers at once."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fastdraft_app.live.prompts import read_prompt
from fastdraft_app.settings.preferences import Preferences
from fastdraft_app.settings.schema import Field, fields
from fastdraft_app.settings.settings import GROUPS, Settings, Value
from fastdraft_core import __version__, places
from fastdraft_core.errors import FastdraftError
from fastdraft_core.models.catalog import first_pair, own_target
from fastdraft_core.recordings import Recorded, read_recording


@dataclass(frozen=True)
class Options:
    """What the command line decides: the settings, a recording to show instead of a live run, and whether smollm2 is brought."""

    preferences: Preferences
    replay: Recorded | None = None
    download: bool = False

    @property
    def settings(self) -> Settings:
        """The settings of this session."""
        return self.preferences.current


def parse(arguments: Sequence[str] | None = None) -> Options:
    """Read the command line and the settings file; ends the program with a sentence where a flag makes no sense."""
    parser = _parser()
    given = vars(parser.parse_args(arguments))
    replay, prompt_file = given.pop("replay", None), given.pop("prompt_file", None)
    try:
        if prompt_file is not None:
            given["prompt"] = read_prompt(Path(prompt_file))
        recorded = read_recording(Path(replay)) if replay is not None else None
    except FastdraftError as error:
        parser.error(error.message)
    download = bool(given.pop("download", False))
    preferences = Preferences(places.config() / "settings.toml", given)
    _complete_pair(preferences)
    return Options(preferences, recorded, download)


def _complete_pair(preferences: Preferences) -> None:
    """What nobody has chosen of the pair follows from what was, and else is the pair that the app opens on."""
    settings, (target, draft) = preferences.current, first_pair()
    if preferences.chosen("target"):
        target, draft = settings.target, settings.with_target(settings.target).draft
    elif preferences.chosen("draft"):
        target = own_target(settings.draft) or target
    preferences.advise(
        {name: one for name, one in (("target", target), ("draft", draft)) if not preferences.chosen(name)}
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fastdraft-app",
        description="Watch a draft model speed a target model up, token by token. `fastdraft-app serve` shows it in a browser.",
        epilog="What is set on screen is remembered; a flag wins for its session. Screens have headless twins: fastdraft --help",
        argument_default=argparse.SUPPRESS,
    )
    parser.add_argument("--version", action="version", version=f"fastdraft-app {__version__}")
    parser.add_argument("--replay", metavar="FILE", help="show a recording (.jsonl); no model is loaded")
    about = (
        "bring smollm2, a published target, in the background where it is not here; the app opens on it from then on"
    )
    parser.add_argument("--download", action="store_true", help=about)
    for name in GROUPS:
        group = parser.add_argument_group(name)
        for field in fields():
            if field.group == name:
                _add(group, field)
        if name == "decoding":
            group.add_argument("--prompt-file", metavar="FILE", help="read the prompt from a text file")
    return parser


def _add(group: argparse._ArgumentGroup, field: Field) -> None:
    flag, about = f"--{field.label}", field.about.replace("%", "%%")
    if field.kind is bool:
        action = argparse.BooleanOptionalAction
        group.add_argument(flag, action=action, help=f"{about} [{'on' if field.default else 'off'}]")
        return
    default = f" [{field.default}]".replace("%", "%%") if field.default != "" else ""
    metavar = "|".join(field.choices) or {int: "N", float: "X"}.get(field.kind, "TEXT")
    group.add_argument(flag, dest=field.name, type=_reader(field), metavar=metavar, help=about + default)


def _reader(field: Field) -> Callable[[str], Value]:
    def read(text: str) -> Value:
        try:
            return field.read(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return read
