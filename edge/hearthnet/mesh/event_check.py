"""Whether a log's last own event is still what was signed; cheap enough for every start (X02)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hearthnet.base.errors import HearthNetError, StoreCorrupt
from hearthnet.mesh.event_rows import cid_text
from hearthnet.wire.event import open_event, verify_event

if TYPE_CHECKING:
    from hearthnet.ports import Query


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
        try:
            found = open_event(rows[0][0])
            verify_event(found)
        except HearthNetError as error:
            raise StoreCorrupt(f"this node's last event is damaged: {error.detail}") from error
        if (found.hash, found.event.author_epoch, found.event.author_seq) != (cid_text(hash_), epoch, seq):
            raise StoreCorrupt("this node's last event is not the one that its clock names")
