"""What is known of one node nearby: merely hinted at, or verified (M02)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Struct

from hearthnet.ports import Address, Peer
from hearthnet.wire.manifest import NodeManifest

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hearthnet.base.types import NodeID

ADDRESSES_MAX: Final = 6
RETRY_FIRST_S: Final = 2.0
RETRY_CAP_S: Final = 30.0  # RECONNECT_BACKOFF_CAP


class Target(Struct, eq=False):
    """A node to ask for its manifest; times are monotonic seconds."""

    peer: Peer  # addresses, the one that worked last first
    source: str  # udp | mdns | known | manual | caller
    due_at: float  # ask then
    rev: int = -1  # revision of the newest hint; -1 = none heard
    failures: int = 0

    @property
    def node_id(self) -> NodeID:
        """Its full id."""
        return self.peer.node_id

    def fail(self, now: float) -> None:
        """It did not answer: ask later, each time twice as late."""
        self.failures += 1
        self.due_at = now + min(RETRY_FIRST_S * 2**self.failures, RETRY_CAP_S)

    def reach(self, addresses: Iterable[Address], *, first: bool) -> None:
        """Addresses to try too, before or after those that are known."""
        parts = (addresses, self.peer.addresses) if first else (self.peer.addresses, addresses)
        merged = tuple(dict.fromkeys(address for part in parts for address in part))
        self.peer = Peer(self.peer.node_id, merged[:ADDRESSES_MAX])


class PeerRecord(Target, kw_only=True, eq=False):
    """A node whose signed manifest was fetched over a connection pinned to its key."""

    manifest: NodeManifest
    rtt_ms: float
    last_seen: float

    def note_reached(self) -> None:
        """Put the address first at which the node says that it was reached: there it heard the question."""
        here = [Address(endpoint.host, endpoint.port) for endpoint in self.manifest.endpoints]
        self.reach([address for address in self.peer.addresses if address in here], first=True)
