"""Urgent events to everyone at once: the overlay and the broadcast trees of this node, running (X02).

Own events go out as soon as they are on the disk; others' are stored by the log, which verifies them, before they go
on. What gets lost on the way is found by anti-entropy; this is the fast path, never the only one.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final, Protocol

from hearthnet.base.errors import DiskFull, HearthNetError, InvalidSignature
from hearthnet.mesh.gossip_queue import GossipQueue
from hearthnet.mesh.verification import Rejection
from hearthnet.mesh.waiting import rest
from hearthnet.ports import Address, Peer
from hearthnet.wire.broadcast import Broadcast, Verify
from hearthnet.wire.event import open_event
from hearthnet.wire.gossip_message import (
    Contact,
    Disconnect,
    Gossip,
    Graft,
    IHave,
    Prune,
    Send,
    decode_messages,
)
from hearthnet.wire.overlay import Down, Overlay, Up

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from hearthnet.base.types import NodeID
    from hearthnet.mesh.events import Receipt
    from hearthnet.mesh.peer_record import PeerRecord
    from hearthnet.ports import Clock, Transport
    from hearthnet.wire.event import Sealed

_BEAT_S: Final = 1.0
_TREE = (Gossip, IHave, Graft, Prune)


class Log(Protocol):
    """The event log."""

    node_id: NodeID

    def subscribe(self, listener: Callable[[Sealed], None]) -> None:
        """Hear of each stored event."""

    async def receive(self, wires: list[bytes]) -> Receipt:
        """Verify and store."""


class Broadcaster:
    """Runs the state machines; `peers` tells it of neighbours, `answer` is the endpoint at `PATH`."""

    def __init__(
        self, own: Contact, log: Log, transport: Transport, clock: Clock, random: Callable[[], float],
        *, blame: Callable[[NodeID, str], None],
    ) -> None:  # fmt: skip
        """`blame(node, why)` is told of a neighbour that sent what no honest node sends."""
        self._log = log
        self._clock = clock
        self._blame = blame
        self._overlay = Overlay(own, random, clock.monotonic())
        self._trees = Broadcast()
        self._known: dict[NodeID, Peer] = {}
        self._queue = GossipQueue(transport, self._peer, fail=self._fail, blame=blame)
        self._received: deque[Verify] = deque()
        self._storing: set[bytes] = set()
        self._stored: set[bytes] = set()
        self._woken = asyncio.Event()
        log.subscribe(self._note)

    @property
    def neighbours(self) -> tuple[NodeID, ...]:
        """The active view."""
        return self._overlay.active

    def peers(self, change: str, record: PeerRecord) -> None:
        """A listener for `PeerRegistry.subscribe`."""
        node_id, addresses = record.node_id, record.peer.addresses
        if change in ("removed", "stranger"):
            self._known.pop(node_id, None)
            self._do(self._overlay.fail(node_id))
        elif addresses:
            self._known[node_id] = record.peer
            self._overlay.suggest([Contact(node_id, addresses[0].host, addresses[0].port)])

    async def answer(self, sender: NodeID, content: bytes) -> bytes:
        """Messages of a neighbour; raises FrameMalformed."""
        now = self._clock.monotonic()
        peer = self._known.get(sender)
        address = peer.addresses[0] if peer is not None else Address("0.0.0.0", 1)  # noqa: S104  not known yet, not used
        contact = self._overlay.contact(sender) or Contact(sender, address.host, address.port)
        for message in decode_messages(content):
            if isinstance(message, _TREE):
                self._do(self._trees.receive(sender, message, now))
            elif peer is not None or isinstance(message, Disconnect):  # whom we cannot reach is no neighbour
                self._do(self._overlay.receive(contact, message, now))
        self._woken.set()
        return b""

    async def run(self) -> None:
        """Beat until cancelled."""
        try:
            while True:
                now = self._clock.monotonic()
                self._do(self._overlay.tick(now))
                self._do(self._trees.tick(now))
                if self._received:
                    await self._store_received()
                    continue
                await self._rest()
        finally:
            await self._queue.close()

    # ---- events -----------------------------------------------------------------------------------------------

    def _note(self, sealed: Sealed) -> None:
        hash_ = bytes.fromhex(sealed.hash[7:])
        if hash_ in self._storing:
            self._stored.add(hash_)
        elif sealed.event.author == self._log.node_id:
            self._do(self._trees.publish(hash_, sealed.wire, self._clock.monotonic()))
            self._woken.set()

    async def _store_received(self) -> None:
        """Let the log judge what has come, together."""
        batch = [(item, event_id) for item in self._take_received() if (event_id := self._read(item))]
        if not batch:
            return
        self._storing = {item.hash for item, _ in batch}
        try:
            receipt = await self._log.receive([item.wire for item, _ in batch])
            rejected = {item.event_id: item for item in receipt.rejected}
        except DiskFull as error:
            rejected = {event_id: Rejection(event_id, error.code, error.detail) for _, event_id in batch}
        finally:
            stored, self._stored, self._storing = self._stored, set(), set()
        now = self._clock.monotonic()
        for item, event_id in batch:
            if item.hash in stored:
                self._do(self._trees.accept(item.hash, now))
            elif (rejection := rejected.get(event_id)) is None:
                self._trees.know(item.hash)
            else:
                self._trees.refuse(item.hash, now)
                if rejection.code == InvalidSignature.code:
                    self._blame(item.sender, rejection.reason)

    def _take_received(self) -> list[Verify]:
        taken = list(self._received)
        self._received.clear()
        return taken

    def _read(self, item: Verify) -> str:
        """The id of a received event; empty when the bytes are not the event that they were sent as."""
        try:
            sealed = open_event(item.wire)
        except HearthNetError as error:
            reason = error.detail
        else:
            if bytes.fromhex(sealed.hash[7:]) == item.hash:
                return sealed.event.event_id
            reason = "the event is another than announced"
        self._trees.refuse(item.hash, self._clock.monotonic())
        self._blame(item.sender, reason)
        return ""

    # ---- effects ----------------------------------------------------------------------------------------------

    def _do(self, effects: Iterable[object]) -> None:
        for effect in effects:
            match effect:
                case Send(node_id=node_id, message=message):
                    self._queue.put(node_id, message)
                case Up(node_id=node_id):
                    self._trees.up(node_id)
                case Down(node_id=node_id):
                    self._trees.down(node_id)
                case Verify():
                    self._received.append(effect)

    def _fail(self, node_id: NodeID) -> None:
        self._do(self._overlay.fail(node_id))

    def _peer(self, node_id: NodeID) -> Peer | None:
        known = self._known.get(node_id)
        contact = self._overlay.contact(node_id)
        if known is not None:
            return known
        return Peer(node_id, (Address(contact.host, contact.port),)) if contact is not None else None

    async def _rest(self) -> None:
        now, due_at = self._clock.monotonic(), self._trees.due_at()
        rest_s = _BEAT_S if due_at is None else min(_BEAT_S, max(0.01, due_at - now))
        self._woken.clear()
        await rest(self._clock, rest_s, self._woken)
