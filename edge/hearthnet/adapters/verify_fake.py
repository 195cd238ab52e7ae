"""Checking events without a process, and without one to be had (X02)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hearthnet.adapters.verify_child import judge
from hearthnet.base.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hearthnet.ports import EventVerdict


class FakeVerifier:
    """The `BulkVerifier` port in the calling thread; dies after `checks_left` calls. `history` tells what was asked."""

    def __init__(self, checks_left: int = 1_000_000) -> None:
        self.checks_left = checks_left
        self.history: list[str] = []

    def check(self, wires: Sequence[bytes]) -> list[EventVerdict]:
        """Form, data and signature of each event."""
        if self.checks_left == 0:
            self.history.append("died")
            raise Unavailable("the fake has died")
        self.checks_left -= 1
        self.history.append(f"checked {len(wires)}")
        return [judge(wire) for wire in wires]

    def rest(self) -> None:
        """Noted only."""
        self.history.append("rested")

    def close(self) -> None:
        """Noted only."""
        self.history.append("closed")
