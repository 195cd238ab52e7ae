"""Ports to other nodes: the transport, what a node serves over it, announcements on the local network (X01, M02)."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

from hearthnet.base.constants import RPC_DEFAULT_TIMEOUT_S
from hearthnet.base.types import CommunityID, NodeID
from hearthnet.wire.discovery import Hint

if TYPE_CHECKING:
    from hearthnet.base.types import TraceID
    from hearthnet.wire.canonical import JsonObject
    from hearthnet.wire.frame import StreamFrame
    from hearthnet.wire.manifest import NodeManifest


class Address(Struct, frozen=True):
    """Where a node listens for others; the host is a name, an IPv4 or an IPv6 address (with its zone)."""

    host: str
    port: int


class Peer(Struct, frozen=True):
    """A partner: who it must be, and where it may be reached, likeliest first."""

    node_id: NodeID
    addresses: tuple[Address, ...]


class Sender(Struct, frozen=True):
    """Who sent a request, proven by its signature or session."""

    node_id: NodeID
    community: CommunityID  # in whose name it signed; whether it belongs there is another question
    address: str = ""  # host it came from


Exchange = Callable[[NodeID, bytes], Awaitable[bytes]]  # an endpoint of our own: (sender, content) -> content


class Transport(Protocol):
    """The way to other nodes (X01).

    Raises what the other node answered; Unavailable when it cannot be reached, CallTimeout when it does not answer,
    InvalidSignature when another node answers in its place.
    """

    async def call(
        self, peer: Peer, capability: str, version: str, body: JsonObject, timeout_s: float = RPC_DEFAULT_TIMEOUT_S
    ) -> JsonObject:
        """Call a capability there; the reply `{output, meta}`."""

    def stream(self, peer: Peer, capability: str, version: str, body: JsonObject) -> AsyncGenerator[StreamFrame, None]:
        """Frames of a streamed reply up to its terminal one; closing the iterator cancels the handler there."""

    async def request(self, peer: Peer, path: str, content: bytes, timeout_s: float = RPC_DEFAULT_TIMEOUT_S) -> bytes:
        """Authenticated POST of bytes to the partner's own endpoint, e.g. `/sync/v2/reconcile`; returns bytes.

        At most REQUEST_MAX_BYTES each way. It may run there more than once, and also when no answer arrives here.
        """

    async def manifest(self, peer: Peer) -> NodeManifest:
        """What the node says about itself now, signed by it and answering our challenge."""

    async def close(self) -> None:
        """Close all connections."""


class PeerServer(Protocol):
    """What a node serves to others, whichever transport carries it: `mesh.peer_server`."""

    async def answer(self, sender: Sender, name: str, content: bytes, trace_id: TraceID) -> bytes:
        """One call of `name@X.Y`; the reply `{output, meta}`. Raises what refused or ended it."""

    def answer_stream(
        self, sender: Sender, name: str, content: bytes, trace_id: TraceID
    ) -> AsyncGenerator[tuple[str, bytes], None]:
        """Event and data of each frame, the last one terminal; raises what refused it before the first."""

    def streams(self, name: str) -> bool:
        """Whether the reply of `name@X.Y` is a stream."""

    async def exchange(self, sender: Sender, path: str, content: bytes) -> bytes:
        """The answer of the `Exchange` registered for this path; raises NotFound, Unauthorized, Revoked."""

    def manifest(self, challenge: str, reached_at: Address | None) -> bytes:
        """The signed manifest of now with the reader's challenge in it; raises BadRequest for an unfit challenge."""


class Sighting(Struct, frozen=True):
    """An announcement that was heard; nothing in it is believed before the node's signed manifest."""

    hint: Hint
    addresses: tuple[Address, ...]
    source: str  # udp | mdns


class Announcer(Protocol):
    """One way of telling the local network that this node is here, and of hearing others (M02).

    What cannot be used (no interface, no multicast) is left out and logged; nothing raises.
    """

    async def open(self, listener: Callable[[Sighting], None]) -> None:
        """Begin to hear; `listener` is called in the loop, also with this node's own announcements."""

    def refresh(self) -> bool:
        """Look at the interfaces again; whether they changed since the last look."""

    async def announce(self, hint: Hint) -> None:
        """Tell the network once, or keep telling it where the protocol does so by itself."""

    async def look(self, active: bool) -> None:
        """Whether to ask the network for others, where asking costs it something."""

    async def close(self) -> None:
        """Stop hearing and withdraw; idempotent."""
