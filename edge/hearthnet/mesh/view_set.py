"""Keeping the views in step with the log: applying, replaying, snapshot and restore (X02)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from hearthnet.mesh.event_rows import KEPT_TYPES
from hearthnet.wire.event_types import EVENT_TYPES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hearthnet.mesh.event_history import EventHistory
    from hearthnet.mesh.snapshots import Snapshot, Snapshots
    from hearthnet.mesh.views import View
    from hearthnet.wire.event import Sealed

_TYPE_OF = {kind: name for name, kind in EVENT_TYPES.items()}


class ViewSet:
    """All views of one log."""

    def __init__(self, views: Sequence[View], history: EventHistory, snapshots: Snapshots | None) -> None:
        self._views: list[View] = []
        self._history = history
        self._snapshots = snapshots
        self._by_kind: dict[type[Struct], list[View]] = {}
        for view in views:
            self._add(view)
        self.incomplete: set[str] = set()  # names of views that miss events which were forgotten, and their snapshot
        self.snapshot_lamport = 0  # of the newest snapshot; 0 without one
        self._applied_until = 0  # every event up to this arrival number is in the views
        self._applied_ahead: dict[int, int] = {}  # first -> end of stretches beyond it

    def apply(self, events: Iterable[Sealed], seqs: range) -> None:
        """Bring the views up to date with events that were just stored as `seqs`."""
        for sealed in events:
            self._apply(sealed)
        if seqs:
            self._applied_ahead[seqs.start] = seqs.stop
        while (end := self._applied_ahead.pop(self._applied_until + 1, None)) is not None:
            self._applied_until = end - 1

    async def attach(self, view: View) -> int:
        """Add a view while the log runs and bring it up to date; returns the events applied."""
        self._add(view)  # from now on it hears of new events; those that the replay brings again change nothing
        snapshot = await self._usable_snapshot()
        return await self._replay([view], snapshot)

    async def replay(self, *, restore: bool = True) -> int:
        """Make the views again, from the newest usable snapshot on if `restore`; returns the events applied."""
        last = await self._history.last_seq()
        snapshot = await self._usable_snapshot()
        if snapshot is not None:
            self.snapshot_lamport = snapshot.head.lamport
        applied = await self._replay(self._views, snapshot, afresh=not restore)
        self._applied_until = max(self._applied_until, last)
        return applied

    async def snapshot(self, lamport: int, now: float) -> int:
        """Write a snapshot and read it back; returns the arrival number up to which it holds everything.

        0 when there is nothing to cover or nowhere to write. Raises DiskFull.
        """
        if self._snapshots is None:
            return 0
        covers_seq = self._applied_until
        state = {view.name: view.snapshot_state() for view in self._views}
        covers_hash = await self._history.hash_at(covers_seq)
        if covers_hash is None:
            return 0
        await self._snapshots.write(state, lamport=lamport, covers=(covers_seq, covers_hash), now=now)
        self.snapshot_lamport = lamport
        written = await self._usable_snapshot()
        return covers_seq if written is not None and written.head.covers_seq == covers_seq else 0

    async def drop_older_snapshots(self) -> None:
        """Let the newest snapshot be the only one."""
        if self._snapshots is not None:
            await self._snapshots.keep(1)

    async def _usable_snapshot(self) -> Snapshot | None:
        snapshot = await self._snapshots.latest() if self._snapshots else None
        if snapshot is None or await self._history.hash_at(snapshot.head.covers_seq) != snapshot.head.covers_hash:
            return None  # made from another file of events: their arrival numbers mean nothing here
        return snapshot

    async def _replay(self, views: Sequence[View], snapshot: Snapshot | None, *, afresh: bool = False) -> int:
        """Bring views up to date; `afresh` applies every event again, not only those beyond the snapshot."""
        together: dict[tuple[int, bool], list[View]] = {}  # views that go on at one place are replayed in one walk
        for view in views:
            types, start = _types_of(view), _restore(view, snapshot)
            if await self._history.forgotten(types, start):
                self.incomplete.add(view.name)
            if afresh:
                if not await self._history.forgotten(types, 0):
                    view.reset()  # else the snapshot alone knows what was forgotten
                start = 0
            rare = types <= KEPT_TYPES  # found through an index, all others by reading everything
            together.setdefault((start, rare), []).append(view)
        return sum([await self._walk(group, start) for (start, _), group in together.items()])

    async def _walk(self, views: Sequence[View], start: int) -> int:
        applied = 0
        async for page in self._history.by_types(frozenset().union(*map(_types_of, views)), start):
            for sealed in page:
                for view in views:
                    if isinstance(sealed.data, view.kinds):
                        view.apply(sealed)
                        applied += 1
        return applied

    def _add(self, view: View) -> None:
        self._views.append(view)
        for kind in view.kinds:
            self._by_kind.setdefault(kind, []).append(view)

    def _apply(self, sealed: Sealed) -> None:
        for view in self._by_kind.get(type(sealed.data), ()):
            view.apply(sealed)


def _types_of(view: View) -> frozenset[str]:
    return frozenset(_TYPE_OF[kind] for kind in view.kinds)


def _restore(view: View, snapshot: Snapshot | None) -> int:
    """The arrival number after which this view needs the events."""
    view.reset()
    if snapshot is None or view.name not in snapshot.state:
        return 0
    try:
        view.restore_state(bytes(snapshot.state[view.name]))
    except msgspec.DecodeError:  # the snapshot of an older program
        view.reset()
        return 0
    return snapshot.head.covers_seq
