"""What the handlers of the port for other nodes share (X01)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web
from msgspec import Struct

if TYPE_CHECKING:
    from hearthnet.base.metrics import Metrics
    from hearthnet.mesh.limits import RateLimits
    from hearthnet.mesh.peer_server import Community, MeshServer
    from hearthnet.ports import Clock, Sender
    from hearthnet.wire.identity import KeyPair
    from hearthnet.wire.replay import ReplayGuard
    from hearthnet.wire.rpc import SignedCall
    from hearthnet.wire.session import Sealed
    from hearthnet.wire.session_desk import SessionDesk


class NodeDoor(Struct, frozen=True):
    """One node's side of the port."""

    key: KeyPair
    community: Community
    server: MeshServer
    clock: Clock
    guard: ReplayGuard
    sessions: SessionDesk
    addresses: RateLimits  # of who has proven nothing yet
    metrics: Metrics


class Proof(Struct, frozen=True):
    """Who sent a request, and what the answer has to fit: a signed call or a sealed one."""

    sender: Sender
    request_id: str
    call: SignedCall | None = None
    sealed: Sealed | None = None
    name: str = ""  # name@X.Y of a call


NODE_DOOR: web.AppKey[NodeDoor] = web.AppKey("node_door")
PROOF: web.RequestKey[Proof] = web.RequestKey("proof", Proof)
