"""What a capability receives from the composition root: ports, bus, log and its configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine

    from hearthnet.base.config import Config
    from hearthnet.base.paths import Paths
    from hearthnet.mesh.capability import Call, Caller
    from hearthnet.mesh.community_desk import CommunityDesk
    from hearthnet.mesh.events import EventLog
    from hearthnet.mesh.peer_server import MeshServer
    from hearthnet.ports import Blobs, Clock, DocumentReader, Engines, Store, Transport, VectorIndex


class Bus(Protocol):
    """The way from one capability to another; there is no other (M03).

    `within` is the call on whose behalf this one is made: both share one trace. `session` keeps a conversation at the
    node that answered first.
    """

    async def call(
        self, name: str, params: Struct | dict[str, Any] | None, request: Struct | dict[str, Any],
        *, caller: Caller, session: str = "", within: Call | None = None,
    ) -> Any:  # fmt: skip
        """The reply struct; raises the error that refused or ended the call."""

    def stream(
        self, name: str, params: Struct | dict[str, Any] | None, request: Struct | dict[str, Any],
        *, caller: Caller, session: str = "", within: Call | None = None,
    ) -> AsyncGenerator[Any, None]:  # fmt: skip
        """The reply's frames, the last one terminal; closing it cancels the handler within 200 ms."""


class Spawn(Protocol):
    """Start a supervised background task; a failure is logged with its name and restarts nothing."""

    def __call__(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Run `work` until it ends or the node stops."""


class Phrase(Protocol):
    """A sentence that an answer needs, in a language; keys live in `web/locales`."""

    def __call__(self, language: str, key: str) -> str:
        """The text; unknown keys raise KeyError."""


class Services(Struct, frozen=True):
    """One node's parts, handed to every capability's constructor."""

    config: Config
    paths: Paths
    clock: Clock
    store: Store  # node-local data: library, conversations, sessions; durable
    blobs: Blobs
    engines: Engines
    bus: Bus
    spawn: Spawn
    phrase: Phrase
    reader: DocumentReader
    vectors: Callable[[int], VectorIndex]  # an empty index for vectors of this dimension
    events: EventLog | None = None  # the community's log; None only where a test needs none
    transport: Transport | None = None  # the way to other nodes; None only where a test needs none
    server: MeshServer | None = None  # what other nodes reach here; `serve` adds endpoints
    community: CommunityDesk | None = None  # members, invitations, joining; None only where a test needs none
