"""The event log: signed, chained per author, durable before it is acknowledged (X02, decisions 6 to 9, 27, 29).

Concurrent appends share one transaction. Received events are verified in threads and stored in batches, each batch
whole. Views are brought up to date before the caller hears of the success.
"""

from __future__ import annotations

import asyncio
from collections import deque
from functools import partial
from operator import lt
from typing import TYPE_CHECKING, Final, cast

from msgspec import Struct

from hearthnet.base.constants import SNAPSHOT_LAG_LAMPORT
from hearthnet.base.errors import EventRejected, HearthNetError
from hearthnet.base.types import NodeID
from hearthnet.mesh.admission import Admission
from hearthnet.mesh.event_batch import EventBatch
from hearthnet.mesh.event_check import check_head
from hearthnet.mesh.event_history import EventHistory
from hearthnet.mesh.event_retention import Forgotten, Retention
from hearthnet.mesh.event_rows import EventRows, LogEnd
from hearthnet.mesh.event_writer import EventWriter, Sealing, Submission
from hearthnet.mesh.members_view import MembersView
from hearthnet.mesh.verification import Rejection, Unverified, Verifier, reject
from hearthnet.mesh.view_set import ViewSet
from hearthnet.mesh.views import order_of
from hearthnet.wire.chain import Duplicate
from hearthnet.wire.community import CommunityCreated, CommunityPolicy, KnownHead
from hearthnet.wire.event import Sealed
from hearthnet.wire.event_types import EVENT_TYPES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hearthnet.base.types import CommunityID
    from hearthnet.mesh.snapshots import Snapshots
    from hearthnet.mesh.views import View
    from hearthnet.ports import BulkVerifier, Clock, Store, Transaction
    from hearthnet.wire.chain import ChainEntry
    from hearthnet.wire.identity import KeyPair

_BULK_EVENTS: Final = 4096  # so many at once are worth starting processes for
_RECEIVE_EVENTS: Final = 1024  # stored together
_BATCHES_AHEAD: Final = 3  # verified while the one before is stored
_EVENT_KINDS: Final = frozenset(EVENT_TYPES.values())


class Receipt(Struct, frozen=True):
    """What became of received events."""

    accepted: int = 0
    duplicates: int = 0
    forks: int = 0
    rejected: tuple[Rejection, ...] = ()


class OpenedLog(Struct, frozen=True):
    """What opening found."""

    events: int
    lamport: int
    replayed: int  # events that no snapshot covered
    damaged: int  # of those, left out because their bytes changed on the disk


class EventLog:
    """One community's log on this node; `open` before use, `close` at the end."""

    def __init__(
        self,
        store: Store,
        key: KeyPair,
        community: CommunityID,
        clock: Clock,
        random_bytes: Callable[[int], bytes],
        *,
        views: Sequence[View] = (),
        snapshots: Snapshots | None = None,
        bulk: BulkVerifier | None = None,
    ) -> None:
        self.community = community
        self.node_id = key.node_id
        self.history = EventHistory(store)
        self.members = MembersView(community)
        self.lamport = 0
        self._store = store
        self._key = key
        self._clock = clock
        self._views = ViewSet([self.members, *views], self.history, snapshots)
        self._retention = Retention(store, self._views, clock)
        self._verifier = Verifier(community, bulk)
        self._names: dict[str, int] = {}
        self._tips: dict[str, ChainEntry | None] = {}
        self._writer = EventWriter(self._store_own)
        self._sealing = Sealing(key, clock, random_bytes, self._verifier)
        self._receiving = asyncio.Lock()
        self._end: LogEnd | None = None  # what the last commit left
        self._under_way = 0  # transactions whose end is not known yet
        self._listeners: list[Callable[[Sealed], None]] = []
        self._frozen_members = self.members.copy()  # never changes, so that the writer thread may read it

    async def open(self) -> OpenedLog:
        """Check the head, restore the newest snapshot, replay the rest. Raises StoreCorrupt."""
        self._names = {text: number for number, text in await self._store.query("SELECT id, text FROM names")}
        local = await self._store.transact(lambda tx: EventRows(tx, self.community, self._names).read_clock())
        await self._store.transact(lambda tx: check_head(tx.query))
        self.lamport = local.lamport
        replayed = await self._views.replay()
        self._frozen_members = self.members.copy()
        return OpenedLog(await self.history.size(), local.lamport, replayed, len(self.history.damaged))

    async def close(self) -> None:
        """Finish what was begun and leave a snapshot when one is due."""
        await self._writer.finish()
        if self.lamport - self._views.snapshot_lamport >= SNAPSHOT_LAG_LAMPORT:
            await self.snapshot()
        await asyncio.to_thread(self._verifier.close)

    @property
    def incomplete_views(self) -> frozenset[str]:
        """Names of views that miss events which were forgotten, because the snapshot that knew them is lost."""
        return frozenset(self._views.incomplete)

    def subscribe(self, listener: Callable[[Sealed], None]) -> None:
        """Call `listener` for each event stored from now on, after the views."""
        self._listeners.append(listener)

    async def attach(self, view: View) -> int:
        """Add a view to a log that is open, and bring it up to date; returns the events applied."""
        return await self._views.attach(view)

    async def rebuild(self) -> int:
        """Make every view again from all events, and what was forgotten from the snapshot; returns how many applied."""
        applied = await self._views.replay(restore=False)
        self._frozen_members = self.members.copy()
        return applied

    async def snapshot(self) -> bool:
        """Write a snapshot of the views; False when there is nothing to cover or nowhere to write. Raises DiskFull."""
        return await self._views.snapshot(self.lamport, self._clock.now()) > 0

    async def forget(self) -> Forgotten:
        """Let go of what expired or is older than the log keeps; to be called every few hours. Raises DiskFull."""
        return await self._retention.sweep(self.lamport)

    async def append(self, data: Struct, *, expires_at: float | None = None) -> Sealed:
        """Sign, chain and store an own event; resolves when it is on the disk and in the views.

        Raises EventRejected, SchemaMismatch, DiskFull. A caller cancelled meanwhile cannot know whether it was stored.
        """
        (sealed,) = await self._submit([data], expires_at)
        return sealed

    async def append_all(self, data: Sequence[Struct]) -> list[Sealed]:
        """Like `append` for many: in this order, all or none."""
        return await self._submit(data, None)

    async def head_of(self, author: NodeID) -> KnownHead:
        """The last event of an author that is here."""
        return await self.history.head(author)

    async def recover(self, wires: Sequence[bytes]) -> Receipt:
        """After a restore from an older copy: take back what was saved from the damaged file, then a new epoch.

        Own events that nobody saved may live on at neighbours; under the next `author_epoch` ours do not fork them.
        """
        receipt = await self.receive(wires)
        await self.begin_epoch()
        return receipt

    async def begin_epoch(self) -> int:
        """Go on under the next `author_epoch` (decision 29)."""

        def raise_epoch(batch: EventBatch) -> None:
            batch.author_epoch += 1

        done: asyncio.Future[EventBatch] = asyncio.get_running_loop().create_future()
        self._write(raise_epoch, partial(_settle, done))
        return (await done).author_epoch

    async def receive(self, wires: Sequence[bytes]) -> Receipt:
        """Verify and store events from outside, in the order (lamport, event id); duplicates change nothing.

        Each event is wholly verified before it is stored. Raises DiskFull; batches stored until then stay.
        """
        async with self._receiving:
            parts = [wires[start : start + _RECEIVE_EVENTS] for start in range(0, len(wires), _RECEIVE_EVENTS)]
            total, bulk = Receipt(), len(wires) >= _BULK_EVENTS
            ahead: deque[asyncio.Task[tuple[list[Sealed], Receipt]]] = deque()
            try:
                for number in range(len(parts)):
                    while len(ahead) < _BATCHES_AHEAD and number + len(ahead) < len(parts):
                        ahead.append(asyncio.ensure_future(self._check(parts[number + len(ahead)], bulk=bulk)))
                    verified, receipt = await ahead.popleft()  # while these are stored, the next are verified
                    batch = await self._admit(verified)
                    stored = Receipt(len(batch.stored), batch.duplicates, batch.forks, tuple(batch.rejected))
                    total = _sum(_sum(total, receipt), stored)
            finally:
                for task in ahead:
                    task.cancel()
                if bulk:
                    await asyncio.to_thread(self._verifier.rest)
            return total

    # ---- in the store's writer thread -------------------------------------------------------------------------

    def _fill(self, fill: Callable[[EventBatch], None], end: LogEnd | None, tx: Transaction) -> EventBatch:
        batch = EventBatch(tx, self.community, self._names, int(self._clock.now()), end)
        fill(batch)
        batch.finish()
        return batch

    def _admit_all(self, verified: list[Sealed], admission: Admission, batch: EventBatch) -> None:
        for sealed in verified:
            try:
                link = batch.link(sealed)
                if isinstance(link, Duplicate):
                    batch.duplicates += 1
                    continue
                admission.check(sealed)
                batch.clock.receive(sealed.event.lamport)
            except HearthNetError as error:
                batch.rejected.append(reject(sealed, error))
                continue
            admission.count(sealed)
            batch.add(sealed, link)
            if sealed.event.author == self._key.node_id:  # comes back after a restore
                batch.take_head(sealed.entry)

    # ---- in the loop ------------------------------------------------------------------------------------------

    async def _submit(self, data: Sequence[Struct], expires_at: float | None) -> list[Sealed]:
        for item in data:
            if type(item) not in _EVENT_KINDS:
                raise EventRejected(f"{type(item).__name__} is no event type")
        return await self._writer.submit(Submission(data, expires_at))

    def _store_own(self, submissions: list[Submission], done: Callable[[BaseException | None], None]) -> None:
        self._write(partial(self._sealing.seal_all, submissions, self._admission()), lambda _, error: done(error))

    async def _admit(self, verified: list[Sealed]) -> EventBatch:
        done: asyncio.Future[EventBatch] = asyncio.get_running_loop().create_future()
        self._write(partial(self._admit_all, verified, self._admission()), partial(_settle, done))
        return await done

    def _write(
        self,
        fill: Callable[[EventBatch], None],
        done: Callable[[EventBatch | None, BaseException | None], None],
    ) -> None:
        """One transaction; what it stored is published before `done`, whether or not somebody still waits."""

        def written(batch: EventBatch | None, error: BaseException | None) -> None:
            self._under_way -= 1
            if batch is not None:
                self._publish(batch)
            done(batch, error)

        end = None if self._under_way else self._end  # with another under way, the store knows better
        self._store.enqueue(partial(self._fill, fill, end), written)
        self._under_way += 1

    async def _check(self, wires: Sequence[bytes], *, bulk: bool) -> tuple[list[Sealed], Receipt]:
        """The new and verified ones in order, and what became of the others."""
        verifier = self._verifier
        checked = await (verifier.check_bulk(wires) if bulk else verifier.check(wires, self._is_new))
        doubtful = [item.sealed for item in checked if isinstance(item, Unverified)]
        known = await self.history.known(doubtful)
        late = await self._verifier.verify([item for item in doubtful if item.hash not in known])
        found = [*checked, *late] if late else checked
        if _is_in_order(found):
            return cast("list[Sealed]", found), Receipt(duplicates=len(wires) - len(found))
        verified = {item.hash: item for item in found if isinstance(item, Sealed)}
        rejected = tuple([item for item in found if isinstance(item, Rejection)])
        duplicates = len(wires) - len(verified) - len(rejected)
        return sorted(verified.values(), key=order_of), Receipt(duplicates=duplicates, rejected=rejected)

    def _is_new(self, sealed: Sealed) -> bool:
        """Whether the event lies beyond its author's last one stored; asked in other threads."""
        tip = self._tips.get(sealed.event.author)
        return tip is not None and sealed.event.author_seq > tip.author_seq

    def _admission(self) -> Admission:
        return Admission(self._frozen_members)

    def _publish(self, batch: EventBatch) -> None:
        self._end = batch.end
        self._names.update(batch.fresh_names)
        self._tips.update(batch.tips)
        self.lamport = max(self.lamport, batch.clock.value)
        self._views.apply(batch.stored, batch.seqs)
        if any(isinstance(item.data, self.members.kinds) for item in batch.stored):
            self._frozen_members = self.members.copy()
        for listener in self._listeners:
            for item in batch.stored:
                listener(item)


async def create_community(log: EventLog, name: str) -> Sealed:
    """Found a community of one: this node is its root and anchor (decision 27). Raises EventRejected elsewhere."""
    return await log.append(CommunityCreated(name, NodeID(log.community), CommunityPolicy()))


def _is_in_order(found: Sequence[Sealed | Rejection | Unverified]) -> bool:
    """Whether all are good and their Lamport times rise strictly: the usual page of a log."""
    if not all(type(item) is Sealed for item in found):
        return False
    times = [item.event.lamport for item in cast("Sequence[Sealed]", found)]
    return all(map(lt, times, times[1:]))


def _settle(future: asyncio.Future[EventBatch], batch: EventBatch | None, error: BaseException | None) -> None:
    if future.done():
        return
    if batch is not None:
        future.set_result(batch)
    elif error is not None:
        future.set_exception(error)


def _sum(one: Receipt, two: Receipt) -> Receipt:
    return Receipt(
        one.accepted + two.accepted, one.duplicates + two.duplicates, one.forks + two.forks, one.rejected + two.rejected
    )
