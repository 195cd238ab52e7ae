"""Neighbours: from a hint to a verified member, kept fresh, dropped when silent (M02).

    hint -> target -> signed manifest over a connection pinned to the hinted key -> member of our community -> neighbour

A hint is never believed: it says where to ask, and is forgotten when nobody answers for itself there. What strangers
can cause is bounded: so many targets, so many questions at once, members first. With many neighbours each is asked more
rarely, so that the questions of a node stay at a few a second whatever their number.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final, Protocol

from hearthnet.base.constants import MANIFEST_REPUBLISH_INTERVAL_S, PEER_UNSEEN_PRUNE_OFFLINE_S, PEER_UNSEEN_PRUNE_S
from hearthnet.base.errors import DiskFull, HearthNetError, InvalidSignature, Revoked
from hearthnet.base.log import sanitise
from hearthnet.base.types import TrustLevel
from hearthnet.mesh.peer_record import PeerRecord, Target
from hearthnet.mesh.waiting import rest
from hearthnet.ports import Peer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from hearthnet.base.types import CommunityID, NodeID
    from hearthnet.mesh.peer_schema import KnownPeers
    from hearthnet.ports import Clock, Sighting, Transport
    from hearthnet.wire.manifest import NodeManifest

log = logging.getLogger(__name__)

TARGETS_MAX: Final = 256
STRANGERS_MAX: Final = 32
ASKING_MAX: Final = 8
ASKED_PER_S: Final = 4.0  # manifests fetched, on average, when there are many neighbours
_STRANGER_S: Final = 600.0  # asked again after that, should it still announce itself
_TICK_S: Final = 1.0
_TRIES_MAX: Final = 6  # of a node that never answered


class Members(Protocol):
    """Who belongs: `EventLog.members`."""

    def trust(self, node_id: NodeID) -> TrustLevel:
        """How far a node is trusted; may raise Revoked."""


class PeerRegistry:
    """The neighbours of this node; `run` keeps them current, listeners hear `added`, `updated` and `removed`."""

    def __init__(
        self, own: NodeID, community: CommunityID, members: Members, transport: Transport, clock: Clock,
        known: KnownPeers | None = None,
    ) -> None:  # fmt: skip
        self.is_offline = False  # no way out: neighbours are all there is, so silence counts sooner
        self._own = own
        self._community = community
        self._members = members
        self._transport = transport
        self._clock = clock
        self._known = known
        self._records: dict[NodeID, PeerRecord] = {}
        self._strangers: dict[NodeID, PeerRecord] = {}
        self._targets: dict[NodeID, Target] = {}
        self._asking: dict[NodeID, asyncio.Task[None]] = {}
        self._listeners: list[Callable[[str, PeerRecord], None]] = []
        self._woken = asyncio.Event()

    # ---- what is known ----------------------------------------------------------------------------------------

    def peers(self) -> list[PeerRecord]:
        """All neighbours, in order of their ids."""
        return [self._records[node_id] for node_id in sorted(self._records)]

    def strangers(self) -> list[PeerRecord]:
        """Verified nodes nearby that do not belong to our community as far as we know; nothing is called there."""
        return list(self._strangers.values())

    def find(self, node_id: NodeID) -> PeerRecord | None:
        """One neighbour."""
        return self._records.get(node_id)

    def subscribe(self, listener: Callable[[str, PeerRecord], None]) -> None:
        """Call `listener(change, record)` from now on; `change` is added, updated, removed or stranger."""
        self._listeners.append(listener)

    # ---- what comes in ----------------------------------------------------------------------------------------

    def sight(self, sighting: Sighting) -> None:
        """An announcement was heard."""
        hint = sighting.hint
        if hint.node != self._own:
            self._suggest(Peer(hint.node, sighting.addresses), sighting.source, hint.rev)

    def suggest(self, peers: Iterable[Peer], source: str) -> None:
        """Nodes that may be there: met earlier, set by hand, or calling us."""
        for peer in peers:
            if peer.node_id != self._own:
                self._suggest(peer, source, -1)

    def heard(self, node_id: NodeID) -> None:
        """A neighbour called us, proven by its signature: it is alive."""
        record = self._records.get(node_id)
        if record is not None:
            record.last_seen = self._clock.monotonic()

    def look_again(self) -> None:
        """The network changed: ask everyone now, at every address."""
        now = self._clock.monotonic()
        for target in self._all():
            target.due_at = now
        self._woken.set()

    def judge_again(self) -> None:
        """Memberships changed: drop who was removed, ask who was a stranger."""
        for node_id in [node_id for node_id in self._records if not self._belongs(node_id)]:
            self._remove(node_id, "no member any more")
        for node_id in [node_id for node_id in self._strangers if self._belongs(node_id)]:
            self._suggest(self._strangers.pop(node_id).peer, "known", -1)

    # ---- keeping current --------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Ask, refresh, prune; until cancelled."""
        if self._known is not None:
            self.suggest(await self._known.list(), "known")
        try:
            while True:
                self.step()
                await self._rest()
        finally:
            asking = list(self._asking.values())
            for task in asking:
                task.cancel()
            await asyncio.gather(*asking, return_exceptions=True)

    def step(self) -> None:
        """What is due now."""
        now = self._clock.monotonic()
        silence_s = PEER_UNSEEN_PRUNE_OFFLINE_S if self.is_offline else PEER_UNSEEN_PRUNE_S
        silence_s = max(silence_s, 3 * self._refresh_s())
        for node_id, record in list(self._records.items()):
            if now - record.last_seen > silence_s:
                self._remove(node_id, "silent")
        self._strangers = {key: one for key, one in self._strangers.items() if now - one.last_seen < _STRANGER_S}
        due = [target for target in self._all() if target.due_at <= now and target.node_id not in self._asking]
        due.sort(key=lambda target: (not self._belongs(target.node_id), target.due_at))
        for target in due[: ASKING_MAX - len(self._asking)]:
            task = asyncio.get_running_loop().create_task(self._ask(target))
            self._asking[target.node_id] = task

    async def _rest(self) -> None:
        self._woken.clear()
        await rest(self._clock, _TICK_S, self._woken)

    async def _ask(self, target: Target) -> None:
        """Fetch a node's manifest and take the consequences."""
        began = self._clock.monotonic()
        try:
            manifest = await self._transport.manifest(target.peer)
        except HearthNetError as error:
            self._failed(target, error)
        else:
            await self._verified(target, manifest, (self._clock.monotonic() - began) * 1000.0)
        finally:
            self._asking.pop(target.node_id, None)
            self._woken.set()

    async def _verified(self, target: Target, manifest: NodeManifest, rtt_ms: float) -> None:
        node_id, now = target.node_id, self._clock.monotonic()
        self._targets.pop(node_id, None)
        before = self._records.get(node_id)
        record = PeerRecord(
            target.peer, target.source, now + self._refresh_s(), target.rev, manifest=manifest, rtt_ms=rtt_ms,
            last_seen=now,
        )  # fmt: skip
        record.note_reached()
        if manifest.community_id != self._community or not self._belongs(node_id):
            self._remove(node_id, "not of this community")
            if len(self._strangers) >= STRANGERS_MAX and node_id not in self._strangers:
                del self._strangers[next(iter(self._strangers))]
            self._strangers[node_id] = record
            self._tell("stranger", record)
            return
        self._records[node_id] = record
        self._tell("added" if before is None else "updated", record)
        if before is None or before.peer.addresses[:1] != record.peer.addresses[:1]:
            await self._keep(record)

    def _failed(self, target: Target, error: HearthNetError) -> None:
        target.fail(self._clock.monotonic())
        log.debug("%s does not answer: %s", target.node_id, sanitise(error.detail, 200))
        replaced = isinstance(error, InvalidSignature)  # another node has this address now
        if isinstance(target, PeerRecord):
            if replaced:
                self._remove(target.node_id, "another node answers there")
        elif replaced or target.failures >= _TRIES_MAX:
            self._targets.pop(target.node_id, None)

    # ---- small steps ------------------------------------------------------------------------------------------

    def _suggest(self, peer: Peer, source: str, rev: int) -> None:
        now, node_id = self._clock.monotonic(), peer.node_id
        target = self._records.get(node_id) or self._targets.get(node_id)
        if target is not None:
            verified = isinstance(target, PeerRecord)
            target.reach(peer.addresses, first=not verified or target.failures > 0)
            if verified and (rev not in (-1, target.rev) or target.failures):
                target.due_at = now
                self._woken.set()
            target.rev = rev if rev >= 0 else target.rev
            return
        if node_id in self._strangers and not self._belongs(node_id):
            return  # asked before, and nothing changed since
        if len(self._targets) >= TARGETS_MAX and not self._make_room(node_id):
            return
        target = self._targets[node_id] = Target(Peer(node_id, ()), source, now, rev)
        target.reach(peer.addresses, first=True)
        self._woken.set()

    def _make_room(self, node_id: NodeID) -> bool:
        """Strangers give way to members; among equals, who was there stays."""
        if not self._belongs(node_id):
            return False
        for other in self._targets:
            if other not in self._asking and not self._belongs(other):
                del self._targets[other]
                return True
        return False

    def _all(self) -> list[Target]:
        return [*self._records.values(), *self._targets.values()]

    def _belongs(self, node_id: NodeID) -> bool:
        try:
            return self._members.trust(node_id) >= TrustLevel.MEMBER
        except Revoked:
            return False

    def _refresh_s(self) -> float:
        return max(float(MANIFEST_REPUBLISH_INTERVAL_S), len(self._records) / ASKED_PER_S)

    def _remove(self, node_id: NodeID, why: str) -> None:
        record = self._records.pop(node_id, None)
        if record is not None:
            log.info("neighbour %s left: %s", node_id, why)
            self._tell("removed", record)

    async def _keep(self, record: PeerRecord) -> None:
        if self._known is None or not record.peer.addresses:
            return
        try:
            await self._known.keep(record.node_id, record.peer.addresses[0], self._clock.now())
        except DiskFull as error:  # it is found again by its announcements
            log.warning("address not kept: %s", error.detail)

    def _tell(self, change: str, record: PeerRecord) -> None:
        for listener in self._listeners:
            listener(change, record)
