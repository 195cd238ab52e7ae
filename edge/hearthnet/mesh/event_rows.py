"""The event log as rows: schema, interned names, chain places, logical clock (X02).

`EventRows` works inside one transaction of the store and remembers nothing beyond it; the caller keeps `fresh`, the
names that it added, once the commit is done.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from hearthnet.base.constants import EVENT_LOG_RETENTION_DAYS
from hearthnet.base.types import CID
from hearthnet.ports import Migration
from hearthnet.wire.chain import ChainEntry
from hearthnet.wire.event_types import EVENT_TYPES
from hearthnet.wire.timestamp import parse_time

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hearthnet.base.types import CommunityID
    from hearthnet.ports import SqlValue, Transaction
    from hearthnet.wire.chain import Fork
    from hearthnet.wire.event import Event, Sealed

EVENTS_SCHEMA: Final = (
    Migration(
        "events",
        1,
        """
        CREATE TABLE names (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE);
        CREATE TABLE events (
            seq INTEGER PRIMARY KEY,          -- order of arrival here
            hash BLOB NOT NULL,               -- identity: BLAKE3 of what is signed
            lamport INTEGER NOT NULL,
            event_id TEXT NOT NULL,
            author INTEGER NOT NULL,          -- names.id
            author_epoch INTEGER NOT NULL,
            author_seq INTEGER NOT NULL,
            event_type INTEGER NOT NULL,      -- names.id
            received_at INTEGER NOT NULL,
            wire BLOB NOT NULL
        );
        -- no index on the hash alone: its entries would lie scattered, and every batch would rewrite the whole of it
        CREATE UNIQUE INDEX events_order ON events (lamport, hash);
        CREATE INDEX events_chain ON events (author, author_seq, author_epoch);
        CREATE INDEX events_type ON events (event_type);
        CREATE TABLE forks (
            known BLOB NOT NULL, other BLOB NOT NULL, author INTEGER NOT NULL, author_epoch INTEGER NOT NULL,
            author_seq INTEGER NOT NULL, found_at INTEGER NOT NULL, PRIMARY KEY (known, other)
        ) WITHOUT ROWID;
        CREATE TABLE clock (
            community_id TEXT PRIMARY KEY, lamport INTEGER NOT NULL, author_epoch INTEGER NOT NULL,
            head_epoch INTEGER NOT NULL, head_seq INTEGER NOT NULL, head_hash BLOB NOT NULL,
            head_lamport INTEGER NOT NULL
        ) WITHOUT ROWID;
        """,
    ),
    Migration(
        "events",
        2,
        """
        ALTER TABLE events ADD COLUMN expires_at INTEGER;  -- seconds since 1970, where the author named a time
        ALTER TABLE events ADD COLUMN kept INTEGER;        -- 1 when the log never forgets it
        UPDATE events SET kept = 1 WHERE event_type IN (SELECT id FROM names WHERE text LIKE 'community.%');
        UPDATE events SET expires_at = CAST(strftime('%s', json_extract(CAST(wire AS TEXT), '$.expires_at')) AS INTEGER)
            WHERE instr(wire, CAST('"expires_at"' AS BLOB)) AND json_valid(CAST(wire AS TEXT));
        -- all others are read in order of arrival: an index over every event costs each append a page
        DROP INDEX events_type;
        CREATE INDEX events_kept ON events (event_type) WHERE kept = 1;
        CREATE INDEX events_expiry ON events (expires_at) WHERE expires_at IS NOT NULL;
        CREATE TABLE log_days (       -- days as this node saw them pass, so that no jump of its clock ages an event
            number INTEGER PRIMARY KEY, began_at INTEGER NOT NULL, last_seq INTEGER NOT NULL
        );
        CREATE TABLE forgotten (      -- by type: how many events gave up their bytes, the last one to arrive among them
            event_type INTEGER PRIMARY KEY, count INTEGER NOT NULL, last_seq INTEGER NOT NULL
        );
        """,
    ),
)
# from a damaged file, by windows of keys
SALVAGE: Final = "SELECT wire FROM events WHERE seq BETWEEN ? AND ? AND wire != x''"
_DAY_S: Final = 86_400
KEPT_TYPES: Final = frozenset(name for name in EVENT_TYPES if name.startswith("community."))  # never forgotten
_ROW: Final = "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_INSERT: Final = f"INSERT INTO events VALUES {_ROW}"  # noqa: S608  question marks only
_ROWS_TOGETHER: Final = 32  # one statement for many rows: threads switch seldom, and yet none waits long
_INSERT_MANY: Final = f"INSERT INTO events VALUES {','.join([_ROW] * _ROWS_TOGETHER)}"  # noqa: S608  question marks only
_PLACE: Final = "SELECT author_epoch, author_seq, hash, lamport FROM events WHERE author = ?"


class LocalClock(Struct, frozen=True):
    """Logical time of this node in its community, the epoch it writes in, and its own last event."""

    lamport: int = 0
    author_epoch: int = 0
    head: ChainEntry | None = None


class LogEnd(Struct, frozen=True):
    """What a commit left: the clock, and the arrival number of the last event."""

    clock: LocalClock
    seq: int


class EventRows:
    """Reads and writes of one transaction; `add` collects some rows, `flush_all` writes what is left."""

    def __init__(self, tx: Transaction, community: CommunityID, names: Mapping[str, int]) -> None:
        self._tx = tx
        self._community = community
        self._names = names
        self._seq = 0
        self._rows: list[Sequence[SqlValue]] = []
        self.fresh: dict[str, int] = {}

    def begin(self, end: LogEnd | None) -> LocalClock:
        """Go on after `end`, or after what the store holds when the caller does not know; returns the clock."""
        if end is None:
            ((seq,),) = self._tx.query("SELECT coalesce(max(seq), 0) FROM events")
            end = LogEnd(self.read_clock(), seq)
        self._seq = end.seq
        return end.clock

    def read_clock(self) -> LocalClock:
        """The clock as the last commit left it."""
        rows = self._tx.query(
            "SELECT lamport, author_epoch, head_epoch, head_seq, head_hash, head_lamport FROM clock"
            " WHERE community_id = ?",
            (self._community,),
        )
        if not rows:
            return LocalClock()
        lamport, epoch, *head = rows[0]
        return LocalClock(lamport, epoch, _entry(head) if head[1] else None)

    def write_clock(self, clock: LocalClock) -> None:
        """Keep the clock in the same transaction as the events it counts."""
        head = clock.head
        place = (head.author_epoch, head.author_seq, hash_bytes(head.hash), head.lamport) if head else (0, 0, b"", 0)
        self._tx.execute(
            "INSERT OR REPLACE INTO clock VALUES (?, ?, ?, ?, ?, ?, ?)",
            (self._community, clock.lamport, clock.author_epoch, *place),
        )

    def add(self, sealed: Sealed, received_at: int) -> None:
        """Store an event that passed every check."""
        event = sealed.event
        self._seq += 1
        self._rows.append((
            self._seq, hash_bytes(sealed.hash), event.lamport, event.event_id, self._number(event.author),
            event.author_epoch, event.author_seq, self._number(event.event_type), received_at, sealed.wire,
            _expiry(event, received_at), 1 if event.event_type in KEPT_TYPES else None,
        ))  # fmt: skip
        if len(self._rows) == _ROWS_TOGETHER:
            self._tx.execute(_INSERT_MANY, [*chain.from_iterable(self._rows)])
            self._rows.clear()

    def flush_all(self) -> int:
        """Write what `add` collected; returns the highest arrival number."""
        if len(self._rows) == 1:
            self._tx.execute(_INSERT, self._rows[0])
        elif self._rows:
            self._tx.executemany(_INSERT, self._rows)
        self._rows.clear()
        return self._seq

    def places(self, author: str, author_seq: int) -> list[ChainEntry]:
        """The author's entries at this number and the one before, of every epoch and fork."""
        self.flush_all()
        rows = self._tx.query(
            f"{_PLACE} AND author_seq BETWEEN ? AND ?", (self._number(author), author_seq - 1, author_seq)
        )
        return [_entry(row) for row in rows]

    def tip(self, author: str) -> ChainEntry | None:
        """The author's entry with the highest number, unless that number is taken twice."""
        self.flush_all()
        rows = self._tx.query(f"{_PLACE} ORDER BY author_seq DESC, author_epoch DESC LIMIT 2", (self._number(author),))
        unique = bool(rows) and (len(rows) == 1 or rows[0][1] != rows[1][1])
        return _entry(rows[0]) if unique else None

    def add_fork(self, author: str, fork: Fork, found_at: int) -> None:
        """Keep the proof that an author signed two continuations."""
        self._tx.execute(
            "INSERT OR IGNORE INTO forks VALUES (?, ?, ?, ?, ?, ?)",
            (
                hash_bytes(fork.known), hash_bytes(fork.other), self._number(author), fork.author_epoch,
                fork.author_seq, found_at,
            ),
        )  # fmt: skip

    def _number(self, text: str) -> int:
        number = self._names.get(text) or self.fresh.get(text)
        if number is None:
            self._tx.execute("INSERT OR IGNORE INTO names (text) VALUES (?)", (text,))
            ((number,),) = self._tx.query("SELECT id FROM names WHERE text = ?", (text,))
            self.fresh[text] = number
        return number


def _expiry(event: Event, received_at: int) -> int | None:
    """When an event expires by the author's clock; where that cannot be right, minus the seconds it was to live.

    Such an event's days are counted from its arrival (see `event_retention`).
    """
    if not event.expires_at:
        return None
    said, expires_at = parse_time(event.wall_clock), parse_time(event.expires_at)
    if -EVENT_LOG_RETENTION_DAYS * _DAY_S <= said - received_at <= _DAY_S:
        return expires_at
    return min(-1, said - expires_at)


def hash_bytes(cid: CID) -> bytes:
    """The 32 bytes of a content id, as columns hold it."""
    return bytes.fromhex(cid[7:])


def cid_text(hash_: bytes) -> CID:
    """The content id of 32 bytes."""
    return CID("blake3:" + hash_.hex())


def _entry(row: Sequence[Any]) -> ChainEntry:
    epoch, seq, hash_, lamport = row
    return ChainEntry(epoch, seq, cid_text(hash_), lamport)
