"""Urgent events along a tree that mends itself, so that each node gets each about once (PlumTree; X02).

Leitao, Pereira, Rodrigues: "Epidemic Broadcast Trees" (SRDS 2007). Sans-I/O. Over the active neighbours of `overlay`,
some links push events (eager), the others only say what they have (lazy); a duplicate turns a link lazy, an event that
is announced but does not come is fetched and turns it eager. What a node pushes on it has verified first: `receive`
asks for the verdict by an effect `Verify`, the answer comes through `accept`, `refuse` or `know`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Struct

from hearthnet.base.types import NodeID
from hearthnet.wire.gossip_message import IDS_MAX, Disconnect, Gossip, Graft, IHave, Prune, Send, TreeMessage

if TYPE_CHECKING:
    from collections.abc import Iterable

GRAFT_AFTER_S: Final = 0.4  # an announced event should have come by then
GRAFT_AGAIN_S: Final = 0.2  # next announcer
ANNOUNCE_EVERY_S: Final = 0.1  # lazy announcements are collected so long
EVENTS_KEPT_S: Final = 30.0
HASHES_KEPT_S: Final = 120.0
MISSING_MAX: Final = 4096
ANNOUNCERS_MAX: Final = 8
ROUNDS_MAX: Final = 4


class Verify(Struct, frozen=True):
    """Effect: check and store this event, then call `accept`, `refuse` or `know` with its hash."""

    sender: NodeID
    hash: bytes
    wire: bytes


Effect = Send | Verify


class _Held(Struct):
    """An event that is being judged or is ready for whoever asks."""

    wire: bytes
    hops: int
    sender: NodeID | None
    at: float
    others: list[NodeID]  # who could send it too, should this one turn out wrong


class _Missing(Struct):
    """An event that others have announced."""

    announcers: list[NodeID]
    due_at: float
    asked: list[NodeID] = []
    rounds: int = 0


class Broadcast:
    """One node's part in the trees."""

    def __init__(self) -> None:
        self._eager: set[NodeID] = set()
        self._lazy: set[NodeID] = set()
        self._held: dict[bytes, _Held] = {}
        self._judged: set[bytes] = set()  # of those held, the accepted ones
        self._seen: dict[bytes, float] = {}
        self._missing: dict[bytes, _Missing] = {}
        self._announce: dict[NodeID, list[bytes]] = {}
        self._announce_at = 0.0

    @property
    def eager(self) -> frozenset[NodeID]:
        """Neighbours that events are pushed to."""
        return frozenset(self._eager)

    def up(self, node_id: NodeID) -> None:
        """A new active neighbour; it is told of the last events, which it may have missed when it lost its old ones."""
        self._lazy.discard(node_id)
        self._eager.add(node_id)
        if self._judged:
            self._announce[node_id] = [hash_ for hash_ in self._held if hash_ in self._judged][-IDS_MAX:]

    def down(self, node_id: NodeID) -> None:
        """It is none any more."""
        self._eager.discard(node_id)
        self._lazy.discard(node_id)
        self._announce.pop(node_id, None)
        for missing in self._missing.values():
            missing.announcers = [one for one in missing.announcers if one != node_id]
            missing.asked = [one for one in missing.asked if one != node_id]

    def publish(self, hash_: bytes, wire: bytes, now: float) -> list[Effect]:
        """An event of this node's own, already stored."""
        if hash_ in self._seen:
            return []
        self._seen[hash_] = now
        self._held[hash_] = _Held(wire, 0, None, now, [])
        return self.accept(hash_, now)

    def receive(self, sender: NodeID, message: TreeMessage, now: float) -> list[Effect]:
        """A neighbour's message. Whoever wrongly takes us for one is told, and its event taken all the same."""
        if sender not in self._eager and sender not in self._lazy:
            taken = self._take(sender, message, now) if isinstance(message, Gossip) else []
            return [Send(sender, Disconnect()), *taken]
        match message:
            case Gossip():
                return self._take(sender, message, now)
            case IHave(hashes=hashes):
                for hash_ in hashes:
                    self._miss(sender, hash_, now)
                return []
            case Graft(hashes=hashes):
                self._push_to(sender)
                return [
                    Send(sender, Gossip(hash_, held.hops + 1, held.wire))
                    for hash_ in hashes
                    if hash_ in self._judged and (held := self._held.get(hash_)) is not None
                ]
            case Prune():
                self._tell_only(sender)
                return []

    def accept(self, hash_: bytes, now: float) -> list[Effect]:
        """The event is right and stored: it goes on."""
        held = self._held.get(hash_)
        if held is None or hash_ in self._judged:
            return []
        self._judged.add(hash_)
        for node_id in self._lazy:
            if node_id != held.sender:
                self._announce.setdefault(node_id, []).append(hash_)
        if self._announce and self._announce_at <= now:
            self._announce_at = now + ANNOUNCE_EVERY_S
        onward = Gossip(hash_, min(held.hops + 1, 255), held.wire)
        return [Send(node_id, onward) for node_id in sorted(self._eager) if node_id != held.sender]

    def refuse(self, hash_: bytes, now: float) -> NodeID | None:
        """These bytes are not that event: they go nowhere, others are asked for it. Returns who sent them."""
        held = self._held.pop(hash_, None)
        if held is None or hash_ in self._judged:
            return None
        self._seen.pop(hash_, None)
        if held.others:
            self._missing[hash_] = _Missing(held.others, now)
        return held.sender

    def know(self, hash_: bytes) -> None:
        """The event was in the log already: it goes no further from here."""
        if hash_ not in self._judged:
            self._held.pop(hash_, None)

    def tick(self, now: float) -> list[Effect]:
        """What time brings: announcements, fetching what did not come, forgetting."""
        effects: list[Effect] = []
        if self._announce and now >= self._announce_at:
            for node_id, hashes in self._announce.items():
                effects += [Send(node_id, IHave(tuple(part))) for part in _parts(hashes)]
            self._announce = {}
        grafts: dict[NodeID, list[bytes]] = {}
        for hash_, missing in list(self._missing.items()):
            if missing.due_at <= now:
                self._fetch(hash_, missing, grafts, now)
        for node_id, hashes in grafts.items():
            self._push_to(node_id)
            effects += [Send(node_id, Graft(tuple(part))) for part in _parts(hashes)]
        self._forget(now)
        return effects

    def due_at(self) -> float | None:
        """When `tick` has something to do, but for forgetting."""
        times = [missing.due_at for missing in self._missing.values()]
        if self._announce:
            times.append(self._announce_at)
        return min(times, default=None)

    # ---- steps ------------------------------------------------------------------------------------------------

    def _take(self, sender: NodeID, message: Gossip, now: float) -> list[Effect]:
        self._missing.pop(message.hash, None)
        if message.hash in self._seen:
            self._note_other(sender, message.hash)
            if sender in self._eager:
                self._tell_only(sender)
                return [Send(sender, Prune())]
            return []
        self._push_to(sender)
        self._seen[message.hash] = now
        self._held[message.hash] = _Held(message.wire, message.hops, sender, now, [])
        return [Verify(sender, message.hash, message.wire)]

    def _miss(self, sender: NodeID, hash_: bytes, now: float) -> None:
        if hash_ in self._seen:
            self._note_other(sender, hash_)
            return
        missing = self._missing.get(hash_)
        if missing is None:
            if len(self._missing) < MISSING_MAX:
                self._missing[hash_] = _Missing([sender], now + GRAFT_AFTER_S)
        elif sender not in (*missing.announcers, *missing.asked) and len(missing.announcers) < ANNOUNCERS_MAX:
            missing.announcers.append(sender)

    def _note_other(self, sender: NodeID, hash_: bytes) -> None:
        held = self._held.get(hash_)
        if held is not None and hash_ not in self._judged and len(held.others) < ANNOUNCERS_MAX:
            held.others.append(sender)

    def _fetch(self, hash_: bytes, missing: _Missing, grafts: dict[NodeID, list[bytes]], now: float) -> None:
        """Ask the next announcer; when all were asked, begin anew, more patiently each time."""
        missing.due_at = now + GRAFT_AGAIN_S
        if not missing.announcers:
            missing.announcers, missing.asked = missing.asked, []
            missing.rounds += 1
            missing.due_at = now + GRAFT_AFTER_S * 2**missing.rounds
            if missing.rounds > ROUNDS_MAX or not missing.announcers:
                del self._missing[hash_]
            return
        chosen = missing.announcers.pop(0)
        missing.asked.append(chosen)
        grafts.setdefault(chosen, []).append(hash_)

    def _push_to(self, node_id: NodeID) -> None:
        if node_id in self._lazy:
            self._lazy.discard(node_id)
            self._eager.add(node_id)

    def _tell_only(self, node_id: NodeID) -> None:
        if node_id in self._eager:
            self._eager.discard(node_id)
            self._lazy.add(node_id)

    def _forget(self, now: float) -> None:
        while self._held and next(iter(self._held.values())).at < now - EVENTS_KEPT_S:
            hash_ = next(iter(self._held))
            del self._held[hash_]
            self._judged.discard(hash_)
        while self._seen and next(iter(self._seen.values())) < now - HASHES_KEPT_S:
            del self._seen[next(iter(self._seen))]


def _parts(hashes: list[bytes]) -> Iterable[list[bytes]]:
    return (hashes[at : at + IDS_MAX] for at in range(0, len(hashes), IDS_MAX))
