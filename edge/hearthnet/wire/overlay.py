"""Whom a node gossips with: few symmetric active neighbours, many passive ones in reserve (HyParView; X02).

Leitao, Pereira, Rodrigues: "HyParView" (DSN 2007). Sans-I/O: messages, contacts and time go in, effects come out. New
contacts come from discovery instead of the paper's join walks, because on a local network everyone is announced; a
shuffle every minute spreads those beyond. Small groups keep everybody active: below `SMALL` nodes nothing is saved.

| state of a node to us | Neighbor | reply yes | reply no | Disconnect | fails |
|---|---|---|---|---|---|
| unknown or passive | active if there is room or it is urgent, else "no" | "disconnect" | - | passive | forgotten |
| asked | active | active | passive, not asked for a while | passive | forgotten |
| active | "yes" again | stays | passive | passive | forgotten, another is asked |

An active neighbour is asked again now and then, so that a dead one, or one that no longer thinks so, is noticed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Struct

from hearthnet.base.types import NodeID
from hearthnet.wire.gossip_message import (
    CONTACTS_MAX,
    Contact,
    Disconnect,
    Neighbor,
    NeighborReply,
    OverlayMessage,
    Send,
    Shuffle,
    ShuffleReply,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

ACTIVE: Final = 5
PASSIVE: Final = 30
SMALL: Final = 15
SHUFFLE_EVERY_S: Final = 60.0
SHUFFLE_HOPS: Final = 6
PROBE_EVERY_S: Final = 5.0  # one active neighbour after the other: is it still there, and does it think so too?
ANSWER_WITHIN_S: Final = 2.0
REFUSED_FOR_S: Final = 30.0


class Up(Struct, frozen=True):
    """Effect: gossip with this node from now on."""

    node_id: NodeID


class Down(Struct, frozen=True):
    """Effect: no longer."""

    node_id: NodeID


Effect = Send | Up | Down


class Overlay:
    """The views of one node; `random` gives numbers in [0, 1)."""

    def __init__(self, own: Contact, random: Callable[[], float], now: float) -> None:
        self.own = own
        self._random = random
        self._active: dict[NodeID, Contact] = {}
        self._passive: dict[NodeID, Contact] = {}
        self._asked: dict[NodeID, float] = {}  # until when an answer is awaited
        self._refused: dict[NodeID, float] = {}
        self._shuffle_at = now + SHUFFLE_EVERY_S * random()
        self._probe_at = now + PROBE_EVERY_S * random()

    @property
    def active(self) -> tuple[NodeID, ...]:
        """The nodes that are gossiped with."""
        return tuple(self._active)

    def contact(self, node_id: NodeID) -> Contact | None:
        """Where a node of the views may be reached."""
        return self._active.get(node_id) or self._passive.get(node_id)

    def suggest(self, contacts: Iterable[Contact]) -> None:
        """Nodes that exist, as far as somebody says."""
        for contact in contacts:
            node_id = contact.node_id
            if node_id == self.own.node_id:
                continue
            if node_id in self._active:
                self._active[node_id] = contact
                continue
            self._passive.pop(node_id, None)
            if len(self._passive) >= PASSIVE:
                del self._passive[self._pick(list(self._passive))]
            self._passive[node_id] = contact

    def tick(self, now: float) -> list[Effect]:
        """What time brings: answers that did not come, places to fill, a shuffle."""
        effects: list[Effect] = []
        for node_id in [one for one, until in self._asked.items() if until <= now]:
            effects += self.fail(node_id)
        self._refused = {one: until for one, until in self._refused.items() if until > now}
        while len(self._active) + sum(one not in self._active for one in self._asked) < self._wanted():
            idle = [one for one in self._passive if one not in self._asked and one not in self._refused]
            if not idle:
                break
            chosen = self._pick(idle)
            self._asked[chosen] = now + ANSWER_WITHIN_S
            effects.append(Send(chosen, Neighbor(urgent=not self._active)))
        if now >= self._probe_at and self._active:
            self._probe_at = now + PROBE_EVERY_S * (0.5 + self._random())
            probed = next(iter(self._active))
            self._active[probed] = self._active.pop(probed)  # to the end of the line
            self._asked.setdefault(probed, now + ANSWER_WITHIN_S)
            effects.append(Send(probed, Neighbor(urgent=False)))
        if now >= self._shuffle_at:
            self._shuffle_at = now + SHUFFLE_EVERY_S * (0.5 + self._random())
            effects += self._shuffle()
        return effects

    def receive(self, sender: Contact, message: OverlayMessage, now: float) -> list[Effect]:
        """Another node's message."""
        node_id = sender.node_id
        match message:
            case Neighbor(urgent=urgent):
                if node_id not in self._active and len(self._active) >= self._wanted() and not urgent:
                    self.suggest([sender])
                    return [Send(node_id, NeighborReply(accepted=False))]
                return [*self._admit(sender), Send(node_id, NeighborReply(accepted=True))]
            case NeighborReply(accepted=accepted):
                if node_id in self._active:  # probed, or both asked at once
                    self._asked.pop(node_id, None)
                    return [] if accepted else self._release(node_id)
                if self._asked.pop(node_id, None) is None:  # too late, or never asked
                    return [Send(node_id, Disconnect())] if accepted else []
                if accepted:
                    return self._admit(sender)
                self._refused[node_id] = now + REFUSED_FOR_S
                return []
            case Disconnect():
                return self._release(node_id)
            case Shuffle():
                return self._pass_on(node_id, message)
            case ShuffleReply(contacts=contacts):
                self.suggest(contacts)
                return []

    def fail(self, node_id: NodeID) -> list[Effect]:
        """A node cannot be reached, or is no member any more."""
        self._asked.pop(node_id, None)
        self._passive.pop(node_id, None)
        return [Down(node_id)] if self._active.pop(node_id, None) else []

    # ---- steps ------------------------------------------------------------------------------------------------

    def _wanted(self) -> int:
        known = len(self._active) + len(self._passive)
        return known if known < SMALL else ACTIVE

    def _admit(self, contact: Contact) -> list[Effect]:
        node_id = contact.node_id
        self._asked.pop(node_id, None)
        self._passive.pop(node_id, None)
        if node_id in self._active:
            return []
        effects: list[Effect] = []
        if len(self._active) >= max(ACTIVE, self._wanted()):
            victim = self._pick(list(self._active))
            effects += [*self._release(victim), Send(victim, Disconnect())]
        self._active[node_id] = contact
        return [*effects, Up(node_id)]

    def _release(self, node_id: NodeID) -> list[Effect]:
        contact = self._active.pop(node_id, None)
        if contact is None:
            return []
        self.suggest([contact])
        return [Down(node_id)]

    def _shuffle(self) -> list[Effect]:
        if not self._active:
            return []
        sample = self._sample()
        return [Send(self._pick(list(self._active)), Shuffle(self.own, SHUFFLE_HOPS, sample))]

    def _pass_on(self, sender: NodeID, message: Shuffle) -> list[Effect]:
        others = [one for one in self._active if one not in (sender, message.origin.node_id)]
        if message.hops > 0 and others:
            onward = Shuffle(message.origin, min(message.hops, SHUFFLE_HOPS) - 1, message.contacts)
            return [Send(self._pick(others), onward)]
        reply = ShuffleReply(self._sample())
        self.suggest([*message.contacts, message.origin])
        return [Send(message.origin.node_id, reply)] if message.origin.node_id != self.own.node_id else []

    def _sample(self) -> tuple[Contact, ...]:
        """Some of both views."""
        pool = [*self._active.values(), *self._passive.values()]
        pool.sort(key=lambda _: self._random())
        return tuple(pool[: CONTACTS_MAX - 1])

    def _pick(self, among: list[NodeID]) -> NodeID:
        return among[int(self._random() * len(among))]
