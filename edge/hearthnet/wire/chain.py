"""Author chains and the Lamport clock: what is missing, what was said twice, what comes next (X02, decisions 6, 8, 29).

Each author numbers its events and names the one before by hash. A restored node that cannot reach a neighbour goes
on under a higher `author_epoch`: the same number then appears in two epochs, which is no fork.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from hearthnet.base.constants import LAMPORT_MAX_JUMP
from hearthnet.base.errors import EventRejected
from hearthnet.base.types import CID

if TYPE_CHECKING:
    from collections.abc import Sequence


class ChainEntry(Struct, frozen=True, gc=False):
    """An event's place in its author's chain."""

    author_epoch: int
    author_seq: int
    hash: CID
    lamport: int


class Extends(Struct, frozen=True):
    """The event continues what is known."""


class Duplicate(Struct, frozen=True):
    """The event is known already."""


class Gap(Struct, frozen=True):
    """The event before this one is not here yet."""

    missing: CID


class Fork(Struct, frozen=True):
    """The author signed two different continuations; both are evidence and both are kept."""

    author_epoch: int
    author_seq: int
    known: CID
    other: CID


def check_link(entry: ChainEntry, prev: str, known: Sequence[ChainEntry]) -> Extends | Duplicate | Gap | Fork:
    """How an event joins the author's entries known at its own number and the one before.

    `known` may hold entries of every epoch and of a fork. Raises EventRejected when the Lamport time does not rise.
    """
    twins = [other for other in known if _same_place(other, entry)]
    if any(other.hash == entry.hash for other in twins):
        return Duplicate()
    if twins:
        return Fork(entry.author_epoch, entry.author_seq, twins[0].hash, entry.hash)
    if entry.author_seq == 1:
        return Extends()
    earlier = [
        other
        for other in known
        if other.author_seq == entry.author_seq - 1 and other.author_epoch <= entry.author_epoch
    ]
    for other in earlier:
        if other.hash == prev:
            if other.lamport >= entry.lamport:
                raise EventRejected("the Lamport time does not rise along the author's chain")
            return Extends()
    for other in earlier:
        if other.author_epoch == entry.author_epoch:
            return Fork(other.author_epoch, other.author_seq, other.hash, CID(prev))
    return Gap(CID(prev))


def _same_place(one: ChainEntry, other: ChainEntry) -> bool:
    return (one.author_epoch, one.author_seq) == (other.author_epoch, other.author_seq)


class LamportClock:
    """The logical time of one community on this node; the store keeps `value` in the insert's transaction."""

    def __init__(self, value: int = 0) -> None:
        self.value = value

    def tick(self) -> int:
        """The time of the next own event."""
        self.value += 1
        return self.value

    def receive(self, lamport: int) -> None:
        """Take a received event's time into account; raises EventRejected when it lies too far ahead."""
        if lamport > self.value + LAMPORT_MAX_JUMP:
            raise EventRejected(f"Lamport time {lamport} lies more than {LAMPORT_MAX_JUMP} ahead of {self.value}")
        self.value = max(self.value, lamport) + 1
