"""What this node knows of, as sync compares it: a key for every event, also for those whose bytes it forgot (X02).

A forgotten event keeps its row and so its key: nobody sends it again. What a partner knows but does not give, or gives
and we refuse, is set aside when we compare with that partner, and with no other: so it costs nothing each time, and no
partner's word hides an event that others still have (ADR 11).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hearthnet.base.errors import BadRequest, EventRejected
from hearthnet.mesh.event_rows import KEPT_TYPES, hash_bytes
from hearthnet.wire.merged_keys import MergedKeys
from hearthnet.wire.negentropy import TIME_BYTES
from hearthnet.wire.ordered_keys import OrderedKeys
from hearthnet.wire.sync_message import FORGOTTEN_MAX, key_of_wire

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hearthnet.base.types import CommunityID, NodeID
    from hearthnet.ports import SqlValue, Store
    from hearthnet.wire.event import Sealed
    from hearthnet.wire.reconcile import Keys

ASIDE_KEYS_MAX: Final = 65_536  # of one partner
ASIDE_PARTNERS_MAX: Final = 16
_PAGE_EVENTS: Final = 10_000
_READ_TOGETHER: Final = 256


class SyncIndex:
    """Keys of one community's log; give `note` to `EventLog.subscribe`, then `load`."""

    def __init__(self, store: Store, community: CommunityID) -> None:
        self.keys = OrderedKeys()
        self.is_loaded = False
        self._store = store
        self._community = community
        self._early: list[bytes] = []
        self._aside: dict[NodeID, OrderedKeys] = {}

    async def load(self) -> int:
        """Read all keys from the log, a page at a time; returns how many there are."""
        keys, lamport, hash_ = OrderedKeys(), 0, b""
        while True:
            rows = await self._store.query(
                "SELECT lamport, hash FROM events WHERE lamport >= ? AND (lamport, hash) > (?, ?)"
                " ORDER BY lamport, hash LIMIT ?",
                (lamport, lamport, hash_, _PAGE_EVENTS),
            )
            if not rows:
                break
            lamport, hash_ = rows[-1]
            keys.extend(b"".join([time.to_bytes(TIME_BYTES) + id_ for time, id_ in rows]))
        self.keys, self.is_loaded = keys, True
        for key in self._early:
            self._add(key)
        self._early.clear()
        return len(self.keys)

    def note(self, sealed: Sealed) -> None:
        """An event was stored."""
        key = sealed.event.lamport.to_bytes(TIME_BYTES) + hash_bytes(sealed.hash)
        if sealed.event.event_type in KEPT_TYPES:
            self._aside.clear()  # what was refused for want of a member may be accepted now
        if self.is_loaded:
            self._add(key)
        else:
            self._early.append(key)

    def seen_by(self, partner: NodeID) -> Keys:
        """What to compare with this partner."""
        aside = self._aside.get(partner)
        return MergedKeys(self.keys, aside) if aside else self.keys

    def set_aside(self, partner: NodeID, keys: Iterable[bytes]) -> int:
        """Leave these out when comparing with a partner, until members change; returns how many of them we lack."""
        fresh = [key for key in keys if key not in self.keys]
        if not fresh:
            return 0
        aside = self._aside.pop(partner, None) or OrderedKeys()
        self._aside[partner] = aside  # the one heard of last is last
        if len(self._aside) > ASIDE_PARTNERS_MAX:
            del self._aside[next(iter(self._aside))]
        return sum(aside.add(key) for key in fresh[: ASIDE_KEYS_MAX - len(aside)])

    async def read(self, keys: Sequence[bytes], most_bytes: int) -> tuple[list[bytes], list[bytes]]:
        """Bytes of the first events of these that fit, and the keys of those whose bytes are gone or damaged.

        Both together are the first of `keys`, at least one.
        """
        found: list[bytes] = []
        gone: list[bytes] = []
        for start in range(0, len(keys), _READ_TOGETHER):
            part = keys[start : start + _READ_TOGETHER]
            rows = await self._rows(part)
            for key in part:
                wire = rows.get(key, b"")
                if not self._is_intact(key, wire):
                    gone.append(key)
                    if len(gone) == FORGOTTEN_MAX:
                        return found, gone
                    continue
                most_bytes -= len(wire) + 1
                if most_bytes < 0:
                    return found, gone
                found.append(wire)
        return found, gone

    async def _rows(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        marks = ",".join(["(?, ?)"] * len(keys))
        places: list[SqlValue] = []
        for key in keys:
            places += (int.from_bytes(key[:TIME_BYTES]), key[TIME_BYTES:])
        rows = await self._store.query(
            f"WITH asked (lamport, hash) AS (VALUES {marks})"  # noqa: S608  question marks only
            " SELECT events.lamport, events.hash, events.wire FROM asked JOIN events USING (lamport, hash)",
            places,
        )
        return {lamport.to_bytes(TIME_BYTES) + hash_: wire for lamport, hash_, wire in rows}

    async def heads_by_type(self) -> dict[str, int]:
        """The highest Lamport time of each event type; reads the whole log."""
        rows = await self._store.query(
            "SELECT text, max(lamport) FROM events JOIN names ON names.id = event_type GROUP BY event_type"
        )
        return dict(rows)

    def _add(self, key: bytes) -> None:
        self.keys.add(key)
        for aside in self._aside.values():
            aside.discard(key)

    def _is_intact(self, key: bytes, wire: bytes) -> bool:
        """Whether stored bytes are still the event that the key names; whoever sends others is taken for a liar."""
        try:
            return bool(wire) and key_of_wire(wire, self._community) == key
        except (BadRequest, EventRejected):
            return False
