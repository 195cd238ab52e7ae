"""The side of sync that asks: sessions with partners, and what is remembered between them (X02, decision 7)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hearthnet.mesh.sync_session import SyncResult, SyncSession

if TYPE_CHECKING:
    from hearthnet.base.types import NodeID
    from hearthnet.mesh.events import EventLog
    from hearthnet.mesh.standing import Standing
    from hearthnet.mesh.sync_index import SyncIndex
    from hearthnet.ports import Clock, Peer, Transport

GIVEN_PARTNERS_MAX: Final = 256


class SyncClient:
    """Holds sessions, one at a time with each partner."""

    def __init__(self, log: EventLog, index: SyncIndex, transport: Transport, clock: Clock, standing: Standing) -> None:
        self._log = log
        self._index = index
        self._transport = transport
        self._clock = clock
        self._standing = standing
        self._given: dict[NodeID, set[bytes]] = {}

    async def sync(self, peer: Peer) -> SyncResult:
        """Bring both logs together; raises what the transport raises, BadRequest for a partner that talks nonsense.

        Events stored until then stay. Raises DiskFull, CallTimeout when it takes too long.
        """
        given = self.given_to(peer.node_id)
        session = SyncSession(peer, self._log, self._index, self._transport, self._clock, self._standing, given)
        return await session.run()

    def given_to(self, partner: NodeID) -> set[bytes]:
        """Some keys of events that a partner was given; of so many partners, the ones asked last."""
        given = self._given.pop(partner, set())
        self._given[partner] = given
        if len(self._given) > GIVEN_PARTNERS_MAX:
            del self._given[next(iter(self._given))]
        return given
