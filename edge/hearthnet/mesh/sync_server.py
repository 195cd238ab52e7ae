"""The side of sync that is asked: compare, hand out, take in (X02; `POST /sync/v2/reconcile`, `/fetch`, `/events`).

Nothing is kept of a conversation, so that a break costs nothing and no partner can hold memory here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from hearthnet.base.errors import BadRequest, EventRejected, InvalidSignature, RateLimited, Unavailable
from hearthnet.wire.negentropy import ID_BYTES, ID_LIST, KEY_BYTES, TIME_BYTES, decode_message
from hearthnet.wire.reconcile import respond
from hearthnet.wire.sync_message import (
    EventsReceipt,
    RejectedReason,
    decode_events,
    encode_events,
    encode_receipt,
    key_of_wire,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hearthnet.base.types import NodeID
    from hearthnet.mesh.events import EventLog, Receipt
    from hearthnet.mesh.standing import Standing
    from hearthnet.mesh.sync_index import SyncIndex
    from hearthnet.mesh.verification import Rejection
    from hearthnet.wire.event import Sealed

RECONCILE_PATH: Final = "/sync/v2/reconcile"
FETCH_PATH: Final = "/sync/v2/fetch"
EVENTS_PATH: Final = "/sync/v2/events"
HEADS_PATH: Final = "/sync/v1/heads"
FRAME_BYTES: Final = 60_000
LARGE_FRAME_BYTES: Final = 120_000  # when both have much to say: fewer ranges are told twice
EVENTS_BYTES: Final = 900_000  # of events in one body; REQUEST_MAX_BYTES holds the rest too
MESSAGE_MAX_BYTES: Final = 2 * LARGE_FRAME_BYTES
GARBAGE_POINTS: Final = 50.0
FORGED_POINTS: Final = 100.0  # no honest node can send it: it would not have stored it
REJECTED_POINTS_MAX: Final = 20.0  # may be stored there by right, when the two know different members
HEADS_COST: Final = 10_000.0
_SCAN_KEYS: Final = 65_536
_REASONS: Final = 100
_PUSHES_AT_ONCE: Final = 8
_EVENT_SHARE: Final = 8  # a byte of an event costs so much less work than one of a comparison


class SyncServer:
    """Answers partners; each method is an `Exchange` for `PeerServer`. Raises BadRequest, RateLimited."""

    def __init__(self, log: EventLog, index: SyncIndex, standing: Standing) -> None:
        self._log = log
        self._index = index
        self._standing = standing
        self._pushing: set[NodeID] = set()
        self._heads: dict[str, int] | None = None  # read when first asked for
        log.subscribe(self._raise_head)

    async def reconcile(self, caller: NodeID, content: bytes) -> bytes:
        """The next message of a comparison by negentropy v1."""
        self._admit(caller, len(content))
        if len(content) > MESSAGE_MAX_BYTES:
            raise BadRequest(f"a message of {len(content)} bytes, at most {MESSAGE_MAX_BYTES} are read")
        frame = LARGE_FRAME_BYTES if len(content) > FRAME_BYTES // 2 else FRAME_BYTES
        try:
            answer = respond(self._index.seen_by(caller), content, frame_limit=frame)
        except BadRequest:
            self._standing.penalise(caller, GARBAGE_POINTS, "a message that cannot be read")
            raise
        self._admit(caller, len(answer))
        return answer

    async def fetch(self, caller: NodeID, content: bytes) -> bytes:
        """The events that `encode_wanted` names, as many as fit, and which of them are forgotten."""
        self._admit(caller, len(content))
        try:
            keys = self._find(content)
        except BadRequest:
            self._standing.penalise(caller, GARBAGE_POINTS, "a wish that cannot be read")
            raise
        wires, gone = await self._index.read(keys, EVENTS_BYTES)
        self._admit(caller, sum(map(len, wires)) / _EVENT_SHARE)
        return encode_events(self._log.community, wires, gone)

    async def receive(self, caller: NodeID, content: bytes) -> bytes:
        """Take in pushed events; each is checked before it is stored."""
        self._admit(caller, len(content) / _EVENT_SHARE)
        if caller in self._pushing or len(self._pushing) >= _PUSHES_AT_ONCE:
            raise RateLimited("events of an earlier push are being checked", retry_after_ms=1000)
        self._pushing.add(caller)
        try:
            receipt = await self._take_in(caller, content)
        except (BadRequest, EventRejected):
            self._standing.penalise(caller, GARBAGE_POINTS, "events that cannot be read")
            raise
        finally:
            self._pushing.discard(caller)
        reasons = tuple(RejectedReason(item.event_id, item.reason) for item in receipt.rejected[:_REASONS])
        return encode_receipt(EventsReceipt(receipt.accepted, len(receipt.rejected), reasons, self._log.lamport))

    async def heads(self, caller: NodeID, content: bytes) -> bytes:
        """The specification's `/sync/v1/heads`: a hint that there may be news, never proof that there is none."""
        self._admit(caller, HEADS_COST)
        if self._heads is None:
            self._heads = await self._index.heads_by_type()
        heads = {"community_id": self._log.community, "head": self._log.lamport, "heads_by_type": self._heads}
        return msgspec.json.encode(heads, order="sorted")

    def _raise_head(self, sealed: Sealed) -> None:
        if self._heads is not None:
            event = sealed.event
            self._heads[event.event_type] = max(event.lamport, self._heads.get(event.event_type, 0))

    def _admit(self, caller: NodeID, cost: float) -> None:
        if not self._index.is_loaded:
            raise Unavailable("the node is starting")
        self._standing.charge(caller, cost)

    def _find(self, content: bytes) -> list[bytes]:
        """Keys of the wanted ids in their ranges; an id that is not where it is sought is not found."""
        keys, lower, scanned, found = self._index.keys, 0, 0, []
        for item in decode_message(content):
            upper = keys.find(item.upper)
            if item.mode == ID_LIST:
                wanted = {item.payload[at : at + ID_BYTES] for at in range(0, len(item.payload), ID_BYTES)}
                upper_seen = min(upper, lower + _SCAN_KEYS - scanned)
                part = keys.keys(lower, upper_seen)
                scanned += upper_seen - lower
                found += [
                    part[at : at + KEY_BYTES]
                    for at in range(0, len(part), KEY_BYTES)
                    if part[at + TIME_BYTES : at + KEY_BYTES] in wanted
                ]
            lower = upper
        return found

    async def _take_in(self, caller: NodeID, content: bytes) -> Receipt:
        body = decode_events(content)
        community, known = self._log.community, self._index.keys
        fresh = {key: wire for wire in body.wires if (key := key_of_wire(wire, community)) not in known}
        self._index.set_aside(caller, body.forgotten_keys)
        receipt = await self._log.receive(list(fresh.values()))
        if receipt.accepted < len(fresh):
            self._index.set_aside(caller, fresh)  # those that were refused
        judge(self._standing, caller, receipt.rejected)
        return receipt


def judge(standing: Standing, partner: NodeID, rejected: Sequence[Rejection]) -> None:
    """Count what a partner sent that was not stored."""
    forged = [item for item in rejected if item.code == InvalidSignature.code]
    if forged:
        standing.penalise(partner, FORGED_POINTS, f"a forged event: {forged[0].reason}")
    elif rejected:
        standing.penalise(partner, min(float(len(rejected)), REJECTED_POINTS_MAX), rejected[0].reason)
