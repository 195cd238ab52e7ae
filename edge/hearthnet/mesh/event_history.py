"""Reading the event log: in order, by type, by hash, along the chains (X02)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from hearthnet.base.errors import HearthNetError, NotFound, StoreCorrupt
from hearthnet.mesh.event_check import ChainCheck
from hearthnet.mesh.event_rows import KEPT_TYPES, cid_text, hash_bytes
from hearthnet.wire.community import KnownHead
from hearthnet.wire.event import Sealed, open_event

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Sequence

    from hearthnet.base.types import CID, NodeID
    from hearthnet.ports import Row, SqlValue, Store

_PAGE_EVENTS: Final = 1000


class Position(Struct, frozen=True):
    """A place in the order (lamport, event id, hash), which is the same at every node."""

    lamport: int = 0
    event_id: str = ""
    hash: bytes = b""


class Identity(Struct, frozen=True):
    """What stays of every event, even when its bytes are forgotten: its name and its place in the author's chain."""

    hash: CID
    lamport: int
    event_id: str
    author: NodeID
    author_epoch: int
    author_seq: int
    has_bytes: bool


class ForkProof(Struct, frozen=True):
    """Two events that one author signed for one place; both are kept."""

    author: NodeID
    author_epoch: int
    author_seq: int
    known: CID
    other: CID


class EventHistory:
    """The stored events of one community.

    What is read is checked like what is received, but for the signature: an event whose bytes changed on the disk is
    left out and its hash noted in `damaged`.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self.damaged: set[CID] = set()

    async def size(self) -> int:
        """Number of events."""
        return int((await self._store.query("SELECT count(*) FROM events"))[0][0])

    async def last_seq(self) -> int:
        """Arrival number of the newest event, 0 when there is none."""
        return int((await self._store.query("SELECT coalesce(max(seq), 0) FROM events"))[0][0])

    async def get(self, lamport: int, hash_: CID) -> Sealed:
        """One event; raises NotFound, StoreCorrupt."""
        rows = await self._store.query(
            "SELECT hash, wire FROM events WHERE lamport = ? AND hash = ?", (lamport, hash_bytes(hash_))
        )
        if not rows or not rows[0][1]:
            raise NotFound(f"event {hash_} was forgotten" if rows else f"no event {hash_}")
        for sealed in self._open(rows):
            return sealed
        raise StoreCorrupt(f"stored event {hash_} is damaged")

    async def at(self, author: NodeID, author_seq: int) -> list[Sealed]:
        """The author's events of this number: one, or more after a fork or under another epoch; none when forgotten."""
        rows = await self._store.query(
            "SELECT hash, wire FROM events WHERE author = (SELECT id FROM names WHERE text = ?) AND author_seq = ?"
            " AND wire != x''"
            " ORDER BY author_epoch, seq",
            (author, author_seq),
        )
        return self._open(rows)

    async def head(self, author: NodeID) -> KnownHead:
        """The author's last event that is here, in its newest epoch; number 0 when there is none."""
        rows = await self._store.query(
            "SELECT author_epoch, author_seq, hash FROM events WHERE author = (SELECT id FROM names WHERE text = ?)"
            " ORDER BY author_seq DESC, author_epoch DESC LIMIT 1",
            (author,),
        )
        return KnownHead(rows[0][0], rows[0][1], cid_text(rows[0][2])) if rows else KnownHead()

    async def hash_at(self, seq: int) -> CID | None:
        """Which event arrived as number `seq`."""
        rows = await self._store.query("SELECT hash FROM events WHERE seq = ?", (seq,))
        return cid_text(rows[0][0]) if rows else None

    async def known(self, events: Sequence[Sealed]) -> set[CID]:
        """The hashes of those that are stored."""
        if not events:
            return set()
        marks = ",".join(["(?, ?)"] * len(events))
        places: list[SqlValue] = []
        for sealed in events:
            places += (sealed.event.lamport, hash_bytes(sealed.hash))
        rows = await self._store.query(
            f"WITH asked (lamport, hash) AS (VALUES {marks})"  # noqa: S608  question marks only
            " SELECT events.hash FROM asked JOIN events USING (lamport, hash)",
            places,
        )
        return {cid_text(row[0]) for row in rows}

    async def page(self, after: Position, limit: int = _PAGE_EVENTS) -> tuple[list[Sealed], Position]:
        """The next events in the order that all nodes agree on, and where to go on; forgotten ones are not here."""
        rows = await self._store.query(
            "SELECT hash, wire, lamport, event_id FROM events"
            " WHERE lamport >= ? AND (lamport, event_id, hash) > (?, ?, ?) AND wire != x''"
            " ORDER BY lamport, event_id, hash LIMIT ?",
            (after.lamport, after.lamport, after.event_id, after.hash, limit),
        )
        if not rows:
            return [], after
        last = rows[-1]
        return self._open(rows), Position(last[2], last[3], last[0])

    def by_type(self, event_type: str, after_seq: int = 0) -> AsyncGenerator[list[Sealed]]:
        """All events of a type in order of arrival, a page at a time."""
        return self.by_types((event_type,), after_seq)

    async def by_types(self, types: Collection[str], after_seq: int = 0) -> AsyncGenerator[list[Sealed]]:
        """All events of some types in order of arrival, a page at a time: one walk, however many types."""
        marks = ",".join("?" * len(types))
        through_index = " AND kept = 1" if KEPT_TYPES.issuperset(types) else ""
        while True:
            rows = await self._store.query(
                "SELECT hash, wire, seq FROM events"  # noqa: S608  question marks only
                f" WHERE event_type IN (SELECT id FROM names WHERE text IN ({marks})){through_index}"
                " AND seq > ? AND wire != x'' ORDER BY seq LIMIT ?",
                (*types, after_seq, _PAGE_EVENTS),
            )
            if not rows:
                return
            after_seq = rows[-1][2]
            yield self._open(rows)

    async def forgotten(self, types: Collection[str], after_seq: int) -> bool:
        """Whether an event of these types that arrived after `after_seq` gave up its bytes."""
        marks = ",".join("?" * len(types))
        ((last,),) = await self._store.query(
            "SELECT coalesce(max(last_seq), 0) FROM forgotten"  # noqa: S608  question marks only
            f" WHERE event_type IN (SELECT id FROM names WHERE text IN ({marks}))",
            tuple(types),
        )
        return int(last) > after_seq

    async def identities(self, after: Position, limit: int = _PAGE_EVENTS) -> tuple[list[Identity], Position]:
        """Like `page`, but of every event, also those whose bytes are forgotten: what sync compares."""
        rows = await self._store.query(
            "SELECT hash, lamport, event_id, text, author_epoch, author_seq, wire != x'' FROM events"
            " JOIN names ON names.id = author"
            " WHERE lamport >= ? AND (lamport, event_id, hash) > (?, ?, ?) ORDER BY lamport, event_id, hash LIMIT ?",
            (after.lamport, after.lamport, after.event_id, after.hash, limit),
        )
        if not rows:
            return [], after
        found = [
            Identity(cid_text(hash_), lamport, event_id, author, epoch, seq, bool(has_bytes))
            for hash_, lamport, event_id, author, epoch, seq, has_bytes in rows
        ]
        return found, Position(rows[-1][1], rows[-1][2], rows[-1][0])

    async def forks(self) -> list[ForkProof]:
        """Every proof that an author signed two continuations."""
        rows = await self._store.query(
            "SELECT text, author_epoch, author_seq, known, other FROM forks JOIN names ON id = author"
            " ORDER BY text, author_epoch, author_seq"
        )
        return [ForkProof(row[0], row[1], row[2], cid_text(row[3]), cid_text(row[4])) for row in rows]

    async def verify_all(self, own: NodeID) -> int:
        """Check form, hash, signature and chain of every stored event; returns how many there are.

        Of those that were forgotten, only the place in the chain can be checked.

        Raises StoreCorrupt naming the first event that is not what was stored, or a hole in the chain of `own`.
        """
        checked, after = 0, (0, 0, 0)
        check = ChainCheck(own)
        while True:
            rows = await self._store.query(
                "SELECT author, author_seq, seq, author_epoch, lamport, hash, wire FROM events"
                " WHERE (author, author_seq, seq) > (?, ?, ?) ORDER BY author, author_seq, seq LIMIT ?",
                (*after, _PAGE_EVENTS),
            )
            if not rows:
                return checked
            await asyncio.to_thread(check.follow, rows)
            checked += len(rows)
            after = rows[-1][:3]

    async def check_bytes(self, pause: Callable[[], Awaitable[None]]) -> int:
        """Compare every stored event with its hash, a `pause` before each page; returns how many are `damaged`."""
        after = 0
        while True:
            await pause()
            rows = await self._store.query(
                "SELECT hash, wire, seq FROM events WHERE seq > ? AND wire != x'' ORDER BY seq LIMIT ?",
                (after, _PAGE_EVENTS),
            )
            if not rows:
                return len(self.damaged)
            await asyncio.to_thread(self._open, rows)
            after = rows[-1][2]

    def _open(self, rows: Sequence[Row]) -> list[Sealed]:
        found = []
        for hash_, wire, *_ in rows:
            try:
                sealed = open_event(wire)
            except HearthNetError:
                self.damaged.add(cid_text(hash_))
                continue
            if sealed.hash == cid_text(hash_):
                found.append(sealed)
            else:
                self.damaged.add(cid_text(hash_))
        return found
