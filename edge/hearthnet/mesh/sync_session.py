"""One session of sync with a partner, by the side that asks (X02, decision 7).

Compare until nothing is open, fetch what is missing, push what the partner lacks, lowest Lamport time first: what an
event rests on (its author's membership and chain) has a lower one, so that it is there in time. What was stored
stays; a session that breaks off is continued by the next one.
"""

from __future__ import annotations

import asyncio
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

    from hearthnet.mesh.events import EventLog
    from hearthnet.mesh.standing import Standing
    from hearthnet.mesh.sync_index import SyncIndex
    from hearthnet.ports import Clock, Peer, Transport
    from hearthnet.wire.sync_message import EventsBody

_T = TypeVar("_T")

SPLIT: Final = Split(buckets=8, list_keys=4)  # of the choices measured the fewest bytes: docs/benchmarks.md
DIFFERENCES_MAX: Final = 32_768  # of a leg, each way
LEGS_MAX: Final = 1_000
IDLE_ROUNDS_MAX: Final = 16  # in which nothing was found; a set of 10**9 needs 10
SESSION_MAX_S: Final = 900.0
STORE_EVENTS: Final = 4_096  # together: enough to check them in several processes, and 4 MB or so
WITHHELD_POINTS: Final = 20.0  # it may have lost them
STALE_POINTS: Final = 10.0
STALE_MAX: Final = 1_000
FORGETFUL_POINTS: Final = 35.0
GIVEN_MAX: Final = 256  # keys remembered of a partner, enough to notice
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


class SyncSession:
    """Made for one partner and run once; `given` are some keys of events that it was given before, which grow."""

    def __init__(
        self,
        peer: Peer,
        log: EventLog,
        index: SyncIndex,
        transport: Transport,
        clock: Clock,
        standing: Standing,
        given: set[bytes],
    ) -> None:
        self._peer = peer
        self._log = log
        self._index = index
        self._transport = transport
        self._clock = clock
        self._standing = standing
        self._given = given
        self._until = clock.monotonic() + SESSION_MAX_S
        self._waits = self._stale = self._aside = 0
        self.legs = self.rounds = self.pulled = self.pushed = self.sent = self.received = 0

    async def run(self) -> SyncResult:
        """Bring both logs together; see `SyncClient.sync`."""
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
        keys = self._index.seen_by(self._peer.node_id)
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
        """Pull events, lowest first; while some are checked and stored, the next are on their way."""
        self._stale = 0
        storing: asyncio.Task[None] | None = None
        waiting: dict[bytes, bytes] = {}
        try:
            for part in split_wanted(wanted, _FETCH_IDS):
                left = part
                while left:
                    body = self._read(decode_events, await self._ask(FETCH_PATH, encode_wanted(left)))
                    given = self._take(left, body, waiting)
                    left = _without(left, given) if given else []
                    if len(waiting) >= STORE_EVENTS:
                        if storing is not None:
                            await storing
                        storing, waiting = asyncio.create_task(self._store(waiting)), {}
            if storing is not None:
                await storing
            await self._store(waiting)
        finally:
            if storing is not None:
                storing.cancel()  # no effect on one that is done
        if self._stale > STALE_MAX:  # a few come meanwhile from others
            self._accuse(STALE_POINTS, "events that we have")

    def _take(self, asked: Sequence[Wanted], body: EventsBody, waiting: dict[bytes, bytes]) -> set[bytes]:
        """Add what a body brings to `waiting`; returns the ids that need not be asked for again."""
        ids = {item.ids[at : at + ID_BYTES] for item in asked for at in range(0, len(item.ids), ID_BYTES)}
        wires = {self._key_of(wire): wire for wire in body.wires}
        given = {key[TIME_BYTES:] for key in (*wires, *body.forgotten_keys)}
        if not given <= ids:
            raise self._accuse(FORGED_POINTS, "events that nobody asked for")
        if not given:
            self._accuse(WITHHELD_POINTS, "events that it named and does not give")
        self._aside += self._index.set_aside(self._peer.node_id, body.forgotten_keys)
        waiting.update(wires)
        return given

    async def _store(self, wires: dict[bytes, bytes]) -> None:
        if not wires:
            return
        index, partner = self._index, self._peer.node_id
        fresh = {key: wire for key, wire in wires.items() if key not in index.keys}
        self._stale += len(wires) - len(fresh)
        receipt = await self._log.receive(list(fresh.values()))
        self.pulled += receipt.accepted
        if receipt.accepted < len(fresh):
            self._aside += index.set_aside(partner, fresh)  # those that were refused
        judge(self._standing, partner, receipt.rejected)

    async def _push(self, have: list[bytes]) -> None:
        """Push events, lowest first, and say which of them we forgot."""
        kept = self._given
        if not kept.isdisjoint(have):  # a restored partner asks twice, one that wastes our time does always
            self._accuse(FORGETFUL_POINTS, "that it lacks what it was given")
            kept.clear()
        while have:
            wires, gone = await self._index.read(have, EVENTS_BYTES)
            count = len(wires) + len(gone)
            body = encode_events(self._log.community, wires, gone)
            receipt = self._read(decode_receipt, await self._ask(EVENTS_PATH, body))
            self.pushed += receipt.accepted
            self._aside += len(gone)
            room = GIVEN_MAX - len(kept)
            kept.update(key for key in have[: min(count, room)] if key not in gone)
            have = have[count:]

    async def _ask(self, path: str, content: bytes) -> bytes:
        """One request; a partner that asks for time gets some."""
        while True:
            if self._standing.is_banned(self._peer.node_id):
                raise BadRequest("the partner broke the rules too often")
            if self._clock.monotonic() > self._until:
                raise CallTimeout("the session takes too long; the next one goes on")
            self.sent += len(content)
            try:
                answer = await self._transport.request(self._peer, path, content, RPC_DEFAULT_TIMEOUT_S)
            except RateLimited as error:
                self._waits += 1
                wait_s = (error.retry_after_ms or 1000) / 1000
                if self._waits > _WAITS_MAX or wait_s > _WAIT_MAX_S:
                    raise
                await self._clock.sleep(wait_s)
                continue
            self.received += len(answer)
            return answer

    def _key_of(self, wire: bytes) -> bytes:
        try:
            return key_of_wire(wire, self._log.community)
        except (BadRequest, EventRejected) as error:
            raise self._accuse(FORGED_POINTS, error.detail) from error

    def _read(self, decode: Callable[[bytes], _T], content: bytes) -> _T:
        try:
            return decode(content)
        except BadRequest as error:
            raise self._accuse(GARBAGE_POINTS, error.detail) from error

    def _accuse(self, points: float, why: str) -> BadRequest:
        self._standing.penalise(self._peer.node_id, points, why)
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
