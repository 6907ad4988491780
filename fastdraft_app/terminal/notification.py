"""A notification of the desktop, asked for by the terminal's own sequences: it works over SSH as well."""

from __future__ import annotations

from collections.abc import Mapping

_ESC, _END = "\x1b", "\x1b\\"
_KNOWS_777 = ("ghostty", "wezterm")


def notification(title: str, body: str, environment: Mapping[str, str]) -> str:
    """What to write to the terminal that ``environment`` tells of; empty for one that would show it as text.

    OSC 99 is kitty's, OSC 777 that of rxvt-unicode, foot, WezTerm and Ghostty; OSC 9 any other that knows one understands.
    """
    title, body = _plain(title), _plain(body)
    terminal, program = environment.get("TERM", ""), environment.get("TERM_PROGRAM", "").lower()
    if terminal in ("", "dumb", "linux"):
        return ""
    if environment.get("TMUX"):
        # tmux hands on what is wrapped for it, where its user allows that.
        return f"{_ESC}Ptmux;{_nine(title, body).replace(_ESC, _ESC * 2)}{_END}"
    if "kitty" in terminal:
        return f"{_ESC}]99;i=fastdraft:d=0;{title}{_END}{_ESC}]99;i=fastdraft:p=body;{body}{_END}"
    if terminal.startswith(("rxvt-unicode", "foot")) or program in _KNOWS_777:
        return f"{_ESC}]777;notify;{title.replace(';', ',')};{body}{_END}"
    return _nine(title, body)


def _nine(title: str, body: str) -> str:
    return f"{_ESC}]9;{title}: {body}{_END}" if body else f"{_ESC}]9;{title}{_END}"


def _plain(text: str) -> str:
    """Without anything that could end the sequence or begin another one."""
    return "".join(character if character.isprintable() else " " for character in text)
