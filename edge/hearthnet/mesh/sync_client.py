"""The side of sync that asks: one session with a partner (X02, decision 7).

Compare until nothing is open, fetch what is missing, push what the partner lacks, lowest Lamport time first: what an
event rests on (its author's membership and chain) has a lower one, so that it is there in time. Each batch is stored
before the next is asked for; a session that breaks off is continued by the next one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from msgspec import Struct

from hearthnet.base.constants import RPC_DEFAULT_TIMEOUT_S
from hearthnet.base.errors import BadRequest, CallTimeout, EventRejected, RateLimited
from hearthnet.mesh.sync_server import (
    EVENTS_BYTES,
    EVENTS_PATH,
    FETCH_PATH,
    FORGED_POINTS,
    FRAME_BYTES,
    GARBAGE_POINTS,
    LARGE_FRAME_BYTES,
    MESSAGE_MAX_BYTES,
    RECONCILE_PATH,
    judge,
)
from hearthnet.wire.negentropy import ID_BYTES, TIME_BYTES
from hearthnet.wire.reconcile import Initiator, Split, Wanted
from hearthnet.wire.sync_message import (
    decode_events,
    decode_receipt,
    encode_events,
    encode_wanted,
    key_of_wire,
    split_wanted,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hearthnet.base.types import NodeID
    from hearthnet.mesh.events import EventLog
    from hearthnet.mesh.standing import Standing
    from hearthnet.mesh.sync_index import SyncIndex
    from hearthnet.ports import Clock, Peer, Transport

_T = TypeVar("_T")

SPLIT: Final = Split(buckets=8, list_keys=4)  # of the choices measured the fewest bytes: docs/benchmarks.md
DIFFERENCES_MAX: Final = 16_384  # of a leg, each way
LEGS_MAX: Final = 1_000
IDLE_ROUNDS_MAX: Final = 16  # in which nothing was found; a set of 10**9 needs 10
SESSION_MAX_S: Final = 900.0
WITHHELD_POINTS: Final = 20.0  # it may have lost them
STALE_POINTS: Final = 10.0
STALE_MAX: Final = 1_000
FORGETFUL_POINTS: Final = 40.0
ACKNOWLEDGED_MAX: Final = 256  # keys remembered of a partner, enough to notice
_ACKNOWLEDGED_PARTNERS: Final = 256
_FETCH_IDS: Final = 2_000
_WAITS_MAX: Final = 20
_WAIT_MAX_S: Final = 10.0


class SyncResult(Struct, frozen=True):
    """What a session did."""

    complete: bool = False  # both hold the same now, but for what one of them refuses or forgot
    legs: int = 0
    rounds: int = 0
    pulled: int = 0  # events stored here
    pushed: int = 0  # events that the partner says it stored
    sent_bytes: int = 0
    received_bytes: int = 0


class SyncClient:
    """Holds sessions with partners, one at a time for each."""

    def __init__(self, log: EventLog, index: SyncIndex, transport: Transport, clock: Clock, standing: Standing) -> None:
        self.log = log
        self.index = index
        self.transport = transport
        self.clock = clock
        self.standing = standing
        self._acknowledged: dict[NodeID, set[bytes]] = {}

    async def sync(self, peer: Peer) -> SyncResult:
        """Bring both logs together; raises what the transport raises, BadRequest for a partner that talks nonsense.

        Events stored until then stay.
        """
        return await _Session(self, peer).run()

    def remember(self, partner: NodeID) -> set[bytes]:
        """Some keys that a partner said it stored; the caller adds to them."""
        kept = self._acknowledged.pop(partner, set())
        self._acknowledged[partner] = kept
        if len(self._acknowledged) > _ACKNOWLEDGED_PARTNERS:
            del self._acknowledged[next(iter(self._acknowledged))]
        return kept


class _Session:
    def __init__(self, client: SyncClient, peer: Peer) -> None:
        self._client = client
        self._peer = peer
        self._until = client.clock.monotonic() + SESSION_MAX_S
        self._waits = self._stale = self._aside = 0
        self.legs = self.rounds = self.pulled = self.pushed = self.sent = self.received = 0

    async def run(self) -> SyncResult:
        complete = False
        for _ in range(LEGS_MAX):
            self.legs += 1
            found = await self._compare()
            before = self._done()
            await self._fetch(found.wanted)
            await self._push(found.have)
            complete = not found.have and not found.wanted
            if complete or self._done() == before:
                break
        return SyncResult(complete, self.legs, self.rounds, self.pulled, self.pushed, self.sent, self.received)

    def _done(self) -> int:
        return self.pulled + self.pushed + self._aside

    async def _compare(self) -> Initiator:
        """The differences, or the lowest of them."""
        keys = self._client.index.seen_by(self._peer.node_id)
        initiator = Initiator(keys, frame_limit=FRAME_BYTES, split=SPLIT, most=DIFFERENCES_MAX)
        message: bytes | None = initiator.begin()
        idle = found = 0
        while message is not None:
            self.rounds += 1
            answer = await self._ask(RECONCILE_PATH, message)
            if len(answer) > MESSAGE_MAX_BYTES:
                raise self._accuse(GARBAGE_POINTS, f"a message of {len(answer)} bytes")
            # both have much to say: fewer, larger frames tell fewer ranges twice
            initiator.frame_limit = LARGE_FRAME_BYTES if len(answer) > FRAME_BYTES // 2 else FRAME_BYTES
            message = self._read(initiator.proceed, answer)
            before, found = found, initiator.found
            idle = idle + 1 if found == before else 0
            if idle > IDLE_ROUNDS_MAX:
                raise self._accuse(GARBAGE_POINTS, "a comparison without end")
        return initiator

    async def _fetch(self, wanted: Sequence[Wanted]) -> None:
        """Pull events, lowest first."""
        self._stale = 0
        for part in split_wanted(wanted, _FETCH_IDS):
            left = part
            while left:
                body = self._read(decode_events, await self._ask(FETCH_PATH, encode_wanted(left)))
                asked = {item.ids[at : at + ID_BYTES] for item in left for at in range(0, len(item.ids), ID_BYTES)}
                wires = {self._key_of(wire): wire for wire in body.wires}
                given = {key[TIME_BYTES:] for key in (*wires, *body.forgotten_keys)}
                if not given <= asked:
                    raise self._accuse(FORGED_POINTS, "events that nobody asked for")
                if not given:
                    self._accuse(WITHHELD_POINTS, "events that it named and does not give")
                    break
                self._aside += self._client.index.set_aside(self._peer.node_id, body.forgotten_keys)
                await self._store(wires)
                left = _without(left, given)
        if self._stale > STALE_MAX:  # a few come meanwhile from others
            self._accuse(STALE_POINTS, "events that we have")

    async def _store(self, wires: dict[bytes, bytes]) -> None:
        index, partner = self._client.index, self._peer.node_id
        fresh = {key: wire for key, wire in wires.items() if key not in index.keys}
        self._stale += len(wires) - len(fresh)
        receipt = await self._client.log.receive(list(fresh.values()))
        self.pulled += receipt.accepted
        self._aside += index.set_aside(partner, fresh)  # those that were refused
        judge(self._client.standing, partner, receipt.rejected)

    async def _push(self, have: list[bytes]) -> None:
        """Push events, lowest first, and say which of them we forgot."""
        kept = self._client.remember(self._peer.node_id)
        if not kept.isdisjoint(have):  # a restored partner forgets once, one that wastes our time does always
            self._accuse(FORGETFUL_POINTS, "that it lacks what it said it had stored")
            kept.clear()
        while have:
            wires, gone = await self._client.index.read(have, EVENTS_BYTES)
            count = len(wires) + len(gone)
            body = encode_events(self._client.log.community, wires, gone)
            receipt = self._read(decode_receipt, await self._ask(EVENTS_PATH, body))
            self.pushed += receipt.accepted
            self._aside += len(gone)
            if not receipt.rejected:
                kept.update(key for key in have[: max(0, ACKNOWLEDGED_MAX - len(kept))][:count] if key not in gone)
            have = have[count:]

    async def _ask(self, path: str, content: bytes) -> bytes:
        """One request; a partner that asks for time gets some."""
        client = self._client
        while True:
            if client.standing.is_banned(self._peer.node_id):
                raise BadRequest("the partner broke the rules too often")
            if client.clock.monotonic() > self._until:
                raise CallTimeout("the session takes too long; the next one goes on")
            self.sent += len(content)
            try:
                answer = await client.transport.request(self._peer, path, content, RPC_DEFAULT_TIMEOUT_S)
            except RateLimited as error:
                self._waits += 1
                wait_s = (error.retry_after_ms or 1000) / 1000
                if self._waits > _WAITS_MAX or wait_s > _WAIT_MAX_S:
                    raise
                await client.clock.sleep(wait_s)
                continue
            self.received += len(answer)
            return answer

    def _key_of(self, wire: bytes) -> bytes:
        try:
            return key_of_wire(wire, self._client.log.community)
        except (BadRequest, EventRejected) as error:
            raise self._accuse(FORGED_POINTS, error.detail) from error

    def _read(self, decode: Callable[[bytes], _T], content: bytes) -> _T:
        try:
            return decode(content)
        except BadRequest as error:
            raise self._accuse(GARBAGE_POINTS, error.detail) from error

    def _accuse(self, points: float, why: str) -> BadRequest:
        self._client.standing.penalise(self._peer.node_id, points, why)
        return BadRequest(f"the partner sent {why}")


def _without(wanted: Sequence[Wanted], given: set[bytes]) -> list[Wanted]:
    left = []
    for item in wanted:
        ids = b"".join(
            item.ids[at : at + ID_BYTES]
            for at in range(0, len(item.ids), ID_BYTES)
            if item.ids[at : at + ID_BYTES] not in given
        )
        if ids:
            left.append(Wanted(item.lower, item.upper, ids))
    return left
