"""Ports for time and for what is kept: clock, SQLite store, event checking, blobs (X02, M07)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from msgspec import Struct

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from hearthnet.base.types import CID
    from hearthnet.wire.cid import BlobManifest

T = TypeVar("T")
SqlValue = str | bytes | int | float | None
Row = tuple[Any, ...]


class Clock(Protocol):
    """Time and sleeping; virtual in tests."""

    def now(self) -> float:
        """Wall clock, seconds since 1970 UTC; may be years off and may jump."""

    def monotonic(self) -> float:
        """Seconds since an arbitrary point, never backwards."""

    async def sleep(self, seconds: float) -> None:
        """Wait; cancellable."""


class Transaction(Protocol):
    """A write transaction; runs off the event loop, all or nothing."""

    def execute(self, sql: str, params: Sequence[SqlValue] = ()) -> int:
        """Run one statement; returns the number of changed rows."""

    def executemany(self, sql: str, rows: Sequence[Sequence[SqlValue]]) -> None:
        """Run one statement for many rows."""

    def query(self, sql: str, params: Sequence[SqlValue] = ()) -> list[Row]:
        """Read inside the transaction."""


Query = Callable[[str, Sequence[SqlValue]], list[Row]]  # one read statement
Probe = Callable[[Query], None]  # looks into a store just opened; raises StoreCorrupt when its content is damaged


class Migration(Struct, frozen=True):
    """One step of a schema. Each owner numbers its own steps from 1 and never changes one that was released."""

    owner: str
    number: int
    sql: str  # one or more statements, run in one transaction


class Store(Protocol):
    """One SQLite database: WAL, migrated at open, integrity-checked (decision 9).

    `transact` resolves only after the commit is durable when the store was opened durable
    (`synchronous=FULL`). Raises `DiskFull` when nothing could be kept, `StoreCorrupt` at open.
    """

    async def query(self, sql: str, params: Sequence[SqlValue] = ()) -> list[Row]:
        """Rows of one read statement, from a reader that never blocks the writer."""

    async def transact(self, work: Callable[[Transaction], T]) -> T:
        """Run `work` in one write transaction and return its result; its exception rolls back.

        A caller cancelled before `work` began changes nothing; cancelled later, `work` still runs to the end.
        """

    def enqueue(self, work: Callable[[Transaction], T], done: Callable[[T | None, BaseException | None], None]) -> None:
        """Like `transact`, but `done` is called in the running loop with the result, or with None and the error.

        Work is run, and its outcome told, in the order in which it was handed over.
        """

    async def walk(self, pause: Callable[[], Awaitable[None]]) -> int:
        """Check the pages that opening left unchecked, a table at a time; returns how many tables that were.

        Awaits `pause` before each. Raises StoreCorrupt; the next opening then sets the file aside.
        """

    async def backup(self, target: str) -> None:
        """Consistent copy while the node runs; the target file appears whole or not at all."""

    async def close(self) -> None:
        """Checkpoint and close; idempotent."""


class EventVerdict(Struct, frozen=True, array_like=True):
    """What checking an event found: its hash when all is right, else the reason."""

    hash: str
    event_id: str = ""
    code: str = ""
    reason: str = ""


class BulkVerifier(Protocol):
    """Checks many events at once, in other processes (X02)."""

    def check(self, wires: Sequence[bytes]) -> list[EventVerdict]:
        """Form, data and signature of each event, in order; blocking. Raises Unavailable: check them yourself."""

    def rest(self) -> None:
        """A delivery is over; more may follow soon."""

    def close(self) -> None:
        """Give back what checking held; idempotent, and checking may begin anew."""


class BlobWriter(Protocol):
    """A blob being written; nothing is visible before `commit`."""

    async def write(self, data: bytes) -> None:
        """Append bytes; raises DiskFull."""

    async def commit(self) -> CID:
        """Hash, sync, rename; returns the content id."""


class Blobs(Protocol):
    """Content-addressed store (M07); every byte is verified on write and on read."""

    def writer(self, expected: CID | None = None) -> AbstractAsyncContextManager[BlobWriter]:
        """Start a blob; leaving the context without commit removes every trace."""

    def read(self, cid: CID) -> AsyncIterator[bytes]:
        """Stream the bytes in chunks; raises NotFound, HashMismatch (before the wrong bytes are given out)."""

    async def has(self, cid: CID) -> bool:
        """Whether the blob is here."""

    async def size(self, cid: CID) -> int:
        """Size in bytes; raises NotFound."""

    async def find(self, cid: CID) -> CID:
        """The blob that an id stands for: its own, its manifest's, or one of its chunks'; raises NotFound."""

    async def manifest(self, cid: CID) -> BlobManifest:
        """Chunk list of a blob, asked for by the blob's own id or by its manifest's; raises NotFound."""

    async def chunk(self, cid: CID) -> bytes:
        """One chunk by its own id, whichever blob holds it; raises NotFound, HashMismatch."""

    async def room(self) -> int:
        """Bytes that may still be stored before `DiskFull`."""

    async def delete(self, cid: CID) -> bool:
        """Remove an unpinned blob; False when it was pinned or absent."""

    async def pin(self, cid: CID, pinned: bool = True) -> None:
        """Protect from (or release to) garbage collection."""

    async def list(self, prefix: str = "") -> list[CID]:
        """Content ids that begin with the prefix."""

    async def collect_garbage(self) -> int:
        """Remove least recently used unpinned blobs while the disk is above its threshold; bytes freed."""
