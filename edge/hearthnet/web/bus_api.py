"""What other nodes reach on port 7080: calls, endpoints of the node itself, the manifest, health (X01).

Order of a request: address limit, headers and body, proof of the sender and freshness, membership, trace, bus (which
limits the caller and judges trust). Replies are signed, or sealed in a session; streams come as server-sent events on
the pinned connection, or over a web socket of their own.
"""

from __future__ import annotations

import logging
import secrets
from typing import TYPE_CHECKING

from aiohttp import web

from hearthnet.base.constants import RATE_LIMIT_TOTAL_HARD_RPS, RATE_LIMIT_TOTAL_SOFT_RPS
from hearthnet.base.errors import (
    BadRequest,
    Dropped,
    Expired,
    HearthNetError,
    InternalError,
    InvalidSignature,
    NotFound,
)
from hearthnet.base.log import sanitise
from hearthnet.base.types import TraceID, TrustLevel
from hearthnet.mesh.community_roll import describe_community
from hearthnet.mesh.limits import Plan, Rate, RateLimits
from hearthnet.mesh.peer_server import Community, MeshServer
from hearthnet.mesh.pubsub import SUBSCRIBE_PATH
from hearthnet.mesh.replies import encode_error
from hearthnet.ports import Address
from hearthnet.web import events_api, node_sessions, observe
from hearthnet.web.connections import CONNECTIONS
from hearthnet.web.door import DOOR, Door
from hearthnet.web.node_door import NODE_DOOR, PROOF, NodeDoor
from hearthnet.web.node_manifest import write_manifest
from hearthnet.web.node_socket import answer_socket
from hearthnet.web.payload import read_bytes
from hearthnet.web.proof import add_headers, answer, prove_call, prove_exchange
from hearthnet.web.sse import send_events
from hearthnet.wire import canonical
from hearthnet.wire.community_manifest import sign_community_manifest
from hearthnet.wire.frame import StreamFrame, encode_sse
from hearthnet.wire.replay import ReplayGuard
from hearthnet.wire.session_desk import SessionDesk
from hearthnet.wire.session_key import HELLO_PATH, OPEN_PATH, SESSION_HEADER, SESSION_LOST

if TYPE_CHECKING:
    from aiohttp.typedefs import Handler

    from hearthnet.base.metrics import Metrics
    from hearthnet.wire.identity import KeyPair

log = logging.getLogger(__name__)

_ADDRESS_RATE = Rate(RATE_LIMIT_TOTAL_SOFT_RPS, RATE_LIMIT_TOTAL_HARD_RPS)


def build_node_app(
    door: Door, key: KeyPair, community: Community, metrics: Metrics, server: MeshServer | None = None
) -> web.Application:
    """The application for other nodes; endpoints of the node's own are added with `MeshServer.serve`."""
    app = web.Application(middlewares=[_answer_errors])
    app[DOOR], app[CONNECTIONS] = door, []
    clock = door.services.clock
    guard = ReplayGuard(secrets.token_bytes(32), clock.now())
    addresses = RateLimits(Plan(_ADDRESS_RATE, _ADDRESS_RATE), on_drop=lambda _: metrics.count_limited("any", "hard"))
    server = server or MeshServer(door.bus, community, clock)

    def write(challenge: str, reached_at: Address | None) -> bytes:
        here = None if reached_at is None else (reached_at.host, reached_at.port)
        return write_manifest(
            door, key, community.community, epoch=guard.epoch, challenge=challenge, reached_at=here
        )  # fmt: skip

    server.write_manifest = write
    desk = SessionDesk(key.node_id, secrets.token_bytes)
    app[NODE_DOOR] = NodeDoor(key, community, server, clock, guard, desk, addresses, metrics)
    app.router.add_post("/bus/v1/call", handle_bus_call)
    app.router.add_get("/bus/v1/call", answer_socket)
    app.router.add_get("/manifest", show_manifest)
    app.router.add_get("/community/manifest", show_community)
    app.router.add_get("/health", observe.health)
    app.router.add_get("/ready", observe.ready)
    app.router.add_post(HELLO_PATH, node_sessions.greet)
    app.router.add_post(OPEN_PATH, node_sessions.open_session)
    app.router.add_get(SUBSCRIBE_PATH, events_api.subscribe)
    app.router.add_post("/{path:.+}", handle_exchange)
    app.on_response_prepare.append(add_headers)
    return app


async def handle_bus_call(request: web.Request) -> web.StreamResponse:
    """`POST /bus/v1/call`: one call, answered by signed or sealed JSON or by an event stream."""
    node = request.app[NODE_DOOR]
    content = await read_bytes(request)
    proof = prove_call(request, content)
    if node.server.streams(proof.name):
        frames = node.server.answer_stream(proof.sender, proof.name, content, TraceID(proof.request_id))
        return await send_events(request, frames, _Events())
    body = await node.server.answer(proof.sender, proof.name, content, TraceID(proof.request_id))
    return answer(request, 200, body)


async def handle_exchange(request: web.Request) -> web.StreamResponse:
    """`POST` of bytes to an endpoint of the node itself, `/sync/v2/reconcile` and the like."""
    content = await read_bytes(request)
    proof = prove_exchange(request, content)
    body = await request.app[NODE_DOOR].server.exchange(proof.sender, request.path, content)
    return answer(request, 200, body, "application/octet-stream")


async def show_manifest(request: web.Request) -> web.StreamResponse:
    """`GET /manifest?challenge=`: the signed manifest; the challenge comes back in it, which proves it is of now."""
    here = request.transport.get_extra_info("sockname") if request.transport is not None else None
    reached_at = Address(here[0], here[1]) if isinstance(here, tuple) else None
    body = request.app[NODE_DOOR].server.manifest(request.query.get("challenge", ""), reached_at)
    return web.Response(body=body, content_type="application/json")


async def show_community(request: web.Request) -> web.StreamResponse:
    """`GET /community/manifest`: signed by the root key or an anchor; a plain member has none to give."""
    node, events = request.app[NODE_DOOR], request.app[DOOR].services.events
    if events is None or node.community.members.trust(node.key.node_id) is not TrustLevel.ANCHOR:
        raise NotFound("this node signs no community manifest", fix="ask an anchor of the community")
    body = sign_community_manifest(node.key, await describe_community(events))
    return web.Response(body=body, content_type="application/json")


class _Events:
    """Frames as numbered server-sent events."""

    def __init__(self) -> None:
        self._seq = 0

    def frame(self, frame: tuple[str, bytes]) -> bytes:
        """One event."""
        return self._event(*frame)

    def fault(self, error: HearthNetError) -> bytes:
        """The terminal error event."""
        return self._event("error", encode_error(error))

    def end(self) -> bytes:
        """Nothing: the last frame was terminal."""
        return b""

    def _event(self, event: str, data: bytes) -> bytes:
        self._seq += 1
        return encode_sse(StreamFrame(event, canonical.decode(data), self._seq))


@web.middleware
async def _answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """The supervisor of this port: every fault becomes the contract's error object."""
    for connections in request.app[CONNECTIONS]:
        connections.begin(request.protocol)
    try:
        return await _answer(request, handler)
    finally:
        for connections in request.app[CONNECTIONS]:
            connections.end(request.protocol)


async def _answer(request: web.Request, handler: Handler) -> web.StreamResponse:
    node = request.app[NODE_DOOR]
    try:
        node.addresses.admit(request.remote or "", "", request.app[DOOR].services.clock.monotonic())
        return await handler(request)
    except Dropped:
        if request.transport is not None:
            request.transport.abort()
        return web.Response(status=429)
    except HearthNetError as error:
        if isinstance(error, InvalidSignature | Expired):
            node.metrics.count("hearthnet_signature_failures_total", error.code)
        return _refused(request, error)
    except web.HTTPException as fault:
        elsewhere = isinstance(fault, web.HTTPMethodNotAllowed) and fault.allowed_methods == {"POST"}
        unknown = fault.status == 404 or elsewhere  # every path takes POSTs, for endpoints that are served later
        return _refused(request, NotFound("there is no such route") if unknown else BadRequest(fault.reason))
    except Exception:  # the supervisor of all requests
        log.exception("unhandled error in %s", sanitise(request.path, 100))
        return _refused(request, InternalError("the node made a mistake; it is in the log"))


def _refused(request: web.Request, error: HearthNetError) -> web.Response:
    response = answer(request, error.status, encode_error(error))
    if error.retry_after_ms is not None:
        response.headers["Retry-After"] = str(max(1, -(-error.retry_after_ms // 1000)))
    if isinstance(error, Expired) and PROOF not in request and SESSION_HEADER in request.headers:
        response.headers[SESSION_HEADER] = SESSION_LOST
    return response
