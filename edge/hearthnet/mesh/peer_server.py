"""What a node serves to other nodes, whichever transport carries it: calls, streams, endpoints, manifest (X01).

The transport has proven who sends. Here stands what holds for each of them: membership and revocation, one rate per
member and per address of strangers, and the bus for everything that is a capability.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Protocol

from msgspec import Struct

from hearthnet.base.constants import PUBSUB_WAIT_S, REQUEST_MAX_BYTES, RPC_DEFAULT_TIMEOUT_S
from hearthnet.base.errors import (
    BadRequest,
    CallTimeout,
    CapabilityConflict,
    HearthNetError,
    InternalError,
    NotFound,
    Unauthorized,
    Unavailable,
)
from hearthnet.base.log import sanitise
from hearthnet.base.types import CommunityID, NodeID, TraceID, TrustLevel
from hearthnet.mesh.capability import Caller
from hearthnet.mesh.limits import Plan, Rate, RateLimits
from hearthnet.mesh.pubsub import SUBSCRIBE_PATH, PubSub
from hearthnet.mesh.replies import encode_error, encode_frame, encode_reply

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from hearthnet.mesh.bus import CapabilityBus
    from hearthnet.ports import Address, Clock, Exchange, Sender

_CHALLENGE_MAX_CHARS = 64
# endpoints of the node itself: a first sync sends many messages, one after the other
_EXCHANGES = Plan(Rate(500.0, 2_000.0), Rate(1_000.0, 4_000.0))


class Trusts(Protocol):
    """Who belongs to the community: `EventLog.members`."""

    def trust(self, node_id: NodeID) -> TrustLevel:
        """How far a node is trusted; `UNKNOWN` for strangers; raises Revoked for who was removed."""


class Community(Protocol):
    """The community of this node: the event log."""

    community: CommunityID
    members: Any  # Trusts


class Manifest(Protocol):
    """Writes what the node says about itself: `web.node_manifest`."""

    def __call__(self, challenge: str, reached_at: Address | None) -> bytes:
        """The signed bytes of now."""


class _Route(Struct, frozen=True):
    answer: Exchange
    trust: TrustLevel
    timeout_s: float


class MeshServer:
    """Implements `ports.PeerServer` for one node; `serve` adds endpoints, also while it runs."""

    def __init__(
        self, bus: CapabilityBus, community: Community, clock: Clock, write_manifest: Manifest | None = None,
        *, on_drop: Callable[[str], None] | None = None, pubsub: PubSub | None = None,
    ) -> None:  # fmt: skip
        self.write_manifest = write_manifest  # set once the pages that it describes are built
        self._bus = bus
        self._community = community
        self._clock = clock
        self._routes: dict[str, _Route] = {}
        self._limits = RateLimits(_EXCHANGES, on_drop=on_drop)
        self.pubsub = pubsub
        if pubsub is not None:
            self.serve(SUBSCRIBE_PATH, pubsub.answer, timeout_s=2 * PUBSUB_WAIT_S)

    def serve(
        self, path: str, answer: Exchange, trust: TrustLevel = TrustLevel.MEMBER,
        timeout_s: float = RPC_DEFAULT_TIMEOUT_S,
    ) -> None:  # fmt: skip
        """Answer POSTs to `path` by senders of at least this trust; raises CapabilityConflict for a taken path.

        `answer(sender, content)` returns at most REQUEST_MAX_BYTES and is cancelled after `timeout_s`. It must bear
        to be run twice with the same content, because a sender that heard no answer asks again.
        """
        if not path.startswith("/") or path in self._routes:
            raise CapabilityConflict(f"{path} is served already, or is no path")
        self._routes[path] = _Route(answer, trust, timeout_s)

    async def answer(self, sender: Sender, name: str, content: bytes, trace_id: TraceID) -> bytes:
        """One call over the bus."""
        return encode_reply(
            await self._bus.handle_call(name, content, caller=self.caller_of(sender), trace_id=trace_id)
        )

    async def answer_stream(
        self, sender: Sender, name: str, content: bytes, trace_id: TraceID
    ) -> AsyncGenerator[tuple[str, bytes], None]:
        """One streamed call over the bus; a fault after the first frame is the terminal `error` frame."""
        frames = self._bus.handle_stream(name, content, caller=self.caller_of(sender), trace_id=trace_id)
        async with aclosing(frames):
            yield encode_frame(await anext(frames))
            try:
                async for frame in frames:
                    yield encode_frame(frame)
            except HearthNetError as error:
                yield "error", encode_error(error)

    def streams(self, name: str) -> bool:
        """Whether the capability answers by a stream."""
        return any(entry.descriptor.streams for entry in self._bus.find(name))

    async def exchange(self, sender: Sender, path: str, content: bytes) -> bytes:
        """One request to an endpoint of the node."""
        caller = self.admit(sender, path)
        route = self._routes.get(path)
        if route is None:
            raise NotFound(f"nothing is served at {sanitise(path, 100)}")
        if caller.trust < route.trust:
            raise Unauthorized(f"{path} is for {route.trust.label}, not for {caller.trust.label}")
        if len(content) > REQUEST_MAX_BYTES:
            raise BadRequest(f"the body is larger than {REQUEST_MAX_BYTES} bytes")
        try:
            async with asyncio.timeout(route.timeout_s):
                answer = await route.answer(sender.node_id, content)
        except TimeoutError as error:
            raise CallTimeout(f"{path} took longer than {route.timeout_s:g} s") from error
        if len(answer) > REQUEST_MAX_BYTES:
            raise InternalError(f"{path} wanted to answer {len(answer)} bytes")
        return answer

    def admit(self, sender: Sender, path: str) -> Caller:
        """Count a request to an endpoint; raises Revoked, RateLimited, Dropped."""
        caller = self.caller_of(sender)
        self._limits.admit(caller.subject, path if path in self._routes else "", self._clock.monotonic())
        return caller

    def manifest(self, challenge: str, reached_at: Address | None) -> bytes:
        """The manifest of now."""
        if len(challenge) > _CHALLENGE_MAX_CHARS or not (challenge.isascii() and challenge.isprintable()):
            raise BadRequest(f"a challenge has at most {_CHALLENGE_MAX_CHARS} printable characters")
        if self.write_manifest is None:
            raise Unavailable("the node is starting")
        return self.write_manifest(challenge, reached_at)

    def caller_of(self, sender: Sender) -> Caller:
        """Who calls; strangers share the limits of their address, because keys cost nothing. Raises Revoked."""
        trust = self.trust(sender)
        known = trust is not TrustLevel.UNKNOWN
        return Caller(sender.node_id, trust, sender.node_id if known else f"address:{sender.address}")

    def trust(self, sender: Sender) -> TrustLevel:
        """How far a sender is trusted here; raises Revoked."""
        if sender.community != self._community.community:
            return TrustLevel.UNKNOWN
        members: Trusts = self._community.members
        return members.trust(sender.node_id)
