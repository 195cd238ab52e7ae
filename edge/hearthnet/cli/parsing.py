"""The words of the argument parser in the user's language; `argparse` itself speaks English only (ux.md 5)."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from hearthnet.web.i18n import Texts

# what argparse says -> our key; a sentence that a later Python adds stays English
_KEYS: Final = {
    "usage: ": "cli.parse.usage",
    "positional arguments": "cli.parse.commands",
    "options": "cli.parse.options",
    "show this help message and exit": "cli.parse.help",
    "%(prog)s: error: %(message)s\n": "cli.parse.error",
    "argument %(argument_name)s: %(message)s": "cli.parse.argument",
    "invalid choice: %(value)r (choose from %(choices)s)": "cli.parse.choice",
    "invalid %(type)s value: %(value)r": "cli.parse.type",
    "the following arguments are required: %s": "cli.parse.missing",
    "unrecognized arguments: %s": "cli.parse.unknown",
    "expected one argument": "cli.parse.one",
    "expected at least one argument": "cli.parse.some",
}


def speak(texts: Texts) -> None:
    """Let every parser of this process use our words; argparse looks its sentences up in `argparse._`."""

    def translate(sentence: str) -> str:
        key = _KEYS.get(sentence)
        return texts(key) if key else sentence

    setattr(argparse, "_", translate)  # noqa: B010  the module's own name for gettext
