"""What the pages and APIs may reach: one struct, handed over by the composition root."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from aiohttp import web
from msgspec import Struct

from hearthnet.base.types import Role, TrustLevel
from hearthnet.mesh.capability import Caller
from hearthnet.web.i18n import Texts
from hearthnet.web.session import Visitor

if TYPE_CHECKING:
    from hearthnet.base.config import Config
    from hearthnet.base.paths import Paths
    from hearthnet.base.trace import TraceRing
    from hearthnet.base.types import NodeID, ShortID
    from hearthnet.mesh.bus import CapabilityBus
    from hearthnet.mesh.services import Services
    from hearthnet.web.session import Sessions


class NodeFacts(Struct, frozen=True):
    """Who this node is, for pages and `/health`."""

    node_id: NodeID
    short_id: ShortID
    name: str
    letters: str  # the four letters on the case
    started_at: float
    version: str
    notices: Sequence[str] = ()  # locale keys of what people must know, e.g. a restored database; grows while it runs


class Door(Struct, frozen=True):
    """Everything a handler needs; found with `door_of(request)`."""

    facts: NodeFacts
    config: Config
    paths: Paths
    services: Services
    bus: CapabilityBus
    sessions: Sessions
    traces: TraceRing
    texts: dict[str, Texts]
    metrics_text: Callable[[], str]
    stop_node: Callable[[], None]
    extras: dict[str, Any]  # parts of single pages (models, doctor), by name


DOOR: web.AppKey[Door] = web.AppKey("door")
VISITOR: web.RequestKey[Visitor] = web.RequestKey("visitor", Visitor)
TEXTS: web.RequestKey[Texts] = web.RequestKey("texts", Texts)


def door_of(request: web.Request) -> Door:
    """The node behind this request."""
    return request.app[DOOR]


def visitor_of(request: web.Request) -> Visitor:
    """Who asks, as the guard established it."""
    return request[VISITOR]


def texts_of(request: web.Request) -> Texts:
    """The texts in the visitor's language."""
    return request[TEXTS]


def caller_of(request: web.Request) -> Caller:
    """The bus caller of this visitor: members and admins of this node are `self` (decision 24)."""
    visitor = visitor_of(request)
    trust = TrustLevel.SELF if visitor.role >= Role.MEMBER else TrustLevel.UNKNOWN
    return Caller(node_id=None, trust=trust, subject=visitor.subject)
