"""Opening a session between nodes: `POST /session/v1/hello` and `/session/v1/open` (X01, decision 28).

Both need the caller's certificate in the TLS handshake, which proves its key; a session is for members only. Who gets
none signs every call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from hearthnet.base.errors import Unauthorized
from hearthnet.base.types import TrustLevel
from hearthnet.ports import Sender
from hearthnet.web.node_door import NODE_DOOR
from hearthnet.web.payload import read_bytes
from hearthnet.wire import canonical
from hearthnet.wire.certificate import node_id_in
from hearthnet.wire.session_key import Certificates, Hello, Opening

if TYPE_CHECKING:
    from msgspec import Struct

_MESSAGE_MAX_BYTES = 1024


async def greet(request: web.Request) -> web.Response:
    """`POST /session/v1/hello`: offer a session to a member."""
    node = request.app[NODE_DOOR]
    hello = canonical.decode_as(await read_bytes(request, _MESSAGE_MAX_BYTES), Hello)
    caller, own = _certificates(request)
    if node.server.trust(Sender(hello.sender, hello.community)) is TrustLevel.UNKNOWN:
        raise Unauthorized("sessions are for members", fix="sign every call")
    offer = node.sessions.offer(hello, node_id_in(caller), Certificates.of(caller, own), node.clock.monotonic())
    return _reply(offer)


async def open_session(request: web.Request) -> web.Response:
    """`POST /session/v1/open`: the caller's proof; from now on its calls may be sealed."""
    node = request.app[NODE_DOOR]
    opening = canonical.decode_as(await read_bytes(request, _MESSAGE_MAX_BYTES), Opening)
    return _reply(node.sessions.open(opening, node.clock.monotonic()))


def _certificates(request: web.Request) -> tuple[bytes, bytes]:
    """The caller's and our own, in DER; raises Unauthorized when the caller has shown none."""
    transport = request.transport
    tls = transport.get_extra_info("ssl_object") if transport is not None else None
    caller = tls.getpeercert(binary_form=True) if tls is not None else None
    own = getattr(transport.get_extra_info("sslcontext"), "certificate", b"") if transport is not None else b""
    if not caller or not own:
        raise Unauthorized("the caller showed no certificate", fix="sign every call")
    return caller, own


def _reply(message: Struct) -> web.Response:
    return web.Response(body=canonical.encode(message), content_type="application/json")
