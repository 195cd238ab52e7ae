"""What commands print: people's lines on a terminal, plain lines in a pipe, JSON on request (ux.md 5)."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hearthnet.base.errors import HearthNetError
    from hearthnet.base.paths import Paths
    from hearthnet.cli.client import NodeClient
    from hearthnet.web.i18n import Texts

_COLOURS = {"ok": "32", "warn": "33", "fail": "31", "bold": "1", "mute": "2"}


class Console:
    """Data to stdout, notes and errors to stderr; colour only where a terminal wants it."""

    def __init__(self, texts: Texts, paths: Paths, client: NodeClient, *, as_json: bool) -> None:
        self.t = texts
        self.paths = paths
        self.client = client
        self.as_json = as_json
        self._colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")

    def data(self, value: Any) -> None:
        """A result for `--json`."""
        print(msgspec.json.format(msgspec.json.encode(value, order="sorted"), indent=2).decode())

    def line(self, text: str = "") -> None:
        """A line of the result."""
        print(text, flush=True)

    def note(self, text: str) -> None:
        """A remark that is not part of the result."""
        print(text, file=sys.stderr, flush=True)

    def paint(self, text: str, style: str) -> str:
        """The text in a style (`ok`, `warn`, `fail`, `bold`, `mute`) on a colour terminal."""
        return f"\x1b[{_COLOURS[style]}m{text}\x1b[0m" if self._colour else text

    def table(self, rows: Sequence[tuple[str, ...]], header: tuple[str, ...]) -> None:
        """Aligned columns; the header only for people."""
        shown = [header, *rows] if sys.stdout.isatty() else rows
        widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
        for number, row in enumerate(shown):
            text = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            self.line(self.paint(text, "bold") if shown is not rows and number == 0 else text)

    def progress(self, text: str) -> None:
        """One line that is written over on a terminal and shown once per change in a pipe; "" clears it."""
        if not text and not sys.stderr.isatty():
            return
        end = "\r" if sys.stderr.isatty() else "\n"
        print(f"\x1b[2K{text}" if end == "\r" else text, end=end, file=sys.stderr, flush=True)

    def fail(self, error: HearthNetError) -> None:
        """What happened, what to do, and the code."""
        if self.as_json:
            self.data({"error": error.code, "message": error.detail, "fix": error.fix})
            return
        self.note(self.paint(self.t.find(f"error.{error.code}.what", error.code), "fail"))
        if error.detail and error.detail != error.code:
            self.note(f"  {error.detail}")
        advice = self.t.find(f"cli.do.{error.code}", "") or self.t.find(f"error.{error.code}.do", "")
        if advice:
            self.note(f"  {self.t('cli.do')} {advice}")
        if error.fix:
            self.note(f"  {self.t('cli.fix')} {error.fix}")
        self.note(f"  {self.t('cli.code')} {error.code}")

    def confirm(self, question: str) -> bool:
        """Ask on a terminal; without one the answer is no."""
        if not sys.stdin.isatty():
            return False
        return input(f"{question} [{self.t('cli.yes')}/{self.t('cli.no')}] ").strip().lower() == self.t("cli.yes")
