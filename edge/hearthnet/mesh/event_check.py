"""Whether what is stored is still what was signed: the own head at every start, the whole log on demand (X02)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hearthnet.base.errors import EventRejected, HearthNetError, StoreCorrupt
from hearthnet.mesh.event_rows import cid_text
from hearthnet.wire.chain import ChainEntry, Gap, check_link
from hearthnet.wire.event import Sealed, open_event, verify_event

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hearthnet.base.types import CID, NodeID
    from hearthnet.ports import Query, Row


class ChainCheck:
    """Follows stored events author by author, in order of their numbers."""

    def __init__(self, own: NodeID) -> None:
        self._own = own
        self._author = 0
        self._near: list[ChainEntry] = []  # the author's entries at the newest number and the one before

    def follow(self, rows: Sequence[Row]) -> None:
        """Check the next rows: author, author_seq, seq, author_epoch, lamport, hash, wire. Raises StoreCorrupt."""
        for author, author_seq, _, author_epoch, lamport, hash_, wire in rows:
            entry = ChainEntry(author_epoch, author_seq, cid_text(hash_), lamport)
            if author != self._author:
                self._author, self._near = author, []
            self._near = [other for other in self._near if other.author_seq >= author_seq - 1]
            if wire:  # of a forgotten event the place is all there is
                self._check_link(_verified(wire, entry.hash), entry)
            self._near.append(entry)

    def _check_link(self, sealed: Sealed, entry: ChainEntry) -> None:
        if sealed.entry != entry:
            raise StoreCorrupt(f"stored event {entry.hash} is not at its place in the chain")
        try:
            link = check_link(entry, sealed.event.prev, self._near)
        except EventRejected as error:
            raise StoreCorrupt(f"stored event {entry.hash}: {error.detail}") from error
        if isinstance(link, Gap) and sealed.event.author == self._own:
            raise StoreCorrupt(f"event {link.missing} of this node is missing")


def _verified(wire: bytes, hash_: CID) -> Sealed:
    try:
        sealed = open_event(wire)
        verify_event(sealed)
    except HearthNetError as error:
        raise StoreCorrupt(f"stored event {hash_} is damaged: {error.detail}") from error
    if sealed.hash != hash_:
        raise StoreCorrupt(f"stored event {hash_} is {sealed.hash}")
    return sealed


def check_head(query: Query) -> None:
    """The own head must be there, as signed, and no event lie beyond the clock. Raises StoreCorrupt."""
    ((highest,),) = query("SELECT coalesce(max(lamport), 0) FROM events", ())
    clocks = query("SELECT lamport, head_epoch, head_seq, head_hash, head_lamport FROM clock", ())
    if highest > max((row[0] for row in clocks), default=0):
        raise StoreCorrupt(f"the log holds Lamport time {highest}, beyond its own clock")
    for _, epoch, seq, hash_, lamport in clocks:
        if seq == 0:
            continue  # this node wrote nothing yet
        rows = query("SELECT wire FROM events WHERE lamport = ? AND hash = ?", (lamport, hash_))
        if not rows:
            raise StoreCorrupt("this node's last event is missing from its log")
        if not rows[0][0]:
            continue  # it expired, and its bytes are forgotten
        try:
            found = open_event(rows[0][0])
            verify_event(found)
        except HearthNetError as error:
            raise StoreCorrupt(f"this node's last event is damaged: {error.detail}") from error
        if (found.hash, found.event.author_epoch, found.event.author_seq) != (cid_text(hash_), epoch, seq):
            raise StoreCorrupt("this node's last event is not the one that its clock names")
