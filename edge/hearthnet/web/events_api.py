"""Subscriptions of other nodes: `GET /pubsub/v1/subscribe`, as long poll or web socket (X06).

`?topic&last_seq&boot&timeout`, signed or sealed like a POST of no bytes to the path with its query; for members. A
POST of the same as JSON is answered by `mesh.pubsub` itself. Over a web socket every message is sent as it comes; a
reader that takes nothing for 5 s is let go and resumes by `last_seq`.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final

from aiohttp import WSMsgType, web

from hearthnet.base.constants import STREAM_ACK_TIMEOUT_S, WEBSOCKET_IDLE_CLOSE_S, WEBSOCKET_PING_S
from hearthnet.base.errors import NotFound, Unauthorized
from hearthnet.base.types import TrustLevel
from hearthnet.web.node_door import NODE_DOOR
from hearthnet.web.payload import read_query
from hearthnet.web.proof import answer, prove_exchange
from hearthnet.wire import canonical
from hearthnet.wire.topic import Subscription, check_audience

if TYPE_CHECKING:
    from hearthnet.mesh.pubsub import PubSub

log = logging.getLogger(__name__)

_SEND_WITHIN_S: Final = STREAM_ACK_TIMEOUT_S
_MESSAGE_MAX_BYTES: Final = 1024  # subscribers say nothing


async def subscribe(request: web.Request) -> web.StreamResponse:
    """The next message of a topic, or all of them over a web socket."""
    node = request.app[NODE_DOOR]
    pubsub = node.server.pubsub
    if pubsub is None:
        raise NotFound("this node tells nothing")
    proof = prove_exchange(request, b"", request.path_qs)
    if node.server.admit(proof.sender, request.path).trust is TrustLevel.UNKNOWN:
        raise Unauthorized("topics are for members")
    asked = read_query(request.query, Subscription)
    check_audience(asked.topic, proof.sender.node_id)
    socket = web.WebSocketResponse(heartbeat=WEBSOCKET_PING_S, max_msg_size=_MESSAGE_MAX_BYTES, compress=False)
    if not socket.can_prepare(request).ok:
        return answer(request, 200, await pubsub.poll(proof.sender.node_id, asked))
    with pubsub.place_of(proof.sender.node_id):
        await socket.prepare(request)
        await _tell(socket, pubsub, asked)
    return socket


async def _tell(socket: web.WebSocketResponse, pubsub: PubSub, asked: Subscription) -> None:
    """Messages until the reader leaves, or takes nothing; a topic that is silent closes after two minutes."""
    loop = asyncio.get_running_loop()
    teller = loop.create_task(_send_all(socket, pubsub, asked), name=f"tell {asked.topic}")
    reader = loop.create_task(_until_closed(socket), name="subscriber")
    try:
        await asyncio.wait((teller, reader), return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (teller, reader):
            await _finish(task)
    if not socket.closed:
        await socket.close()


async def _send_all(socket: web.WebSocketResponse, pubsub: PubSub, asked: Subscription) -> None:
    last_seq, boot = asked.last_seq, asked.boot
    if last_seq is None:
        last_seq, boot = pubsub.head(asked.topic), pubsub.boot
    while (message := await pubsub.listen(asked.topic, last_seq, boot, WEBSOCKET_IDLE_CLOSE_S)) is not None:
        async with asyncio.timeout(_SEND_WITHIN_S):
            await socket.send_str(canonical.encode(message).decode())
        last_seq, boot = message.seq, pubsub.boot


async def _until_closed(socket: web.WebSocketResponse) -> None:
    while (await socket.receive()).type in (WSMsgType.TEXT, WSMsgType.BINARY):
        log.debug("a subscriber speaks")


async def _finish(task: asyncio.Task[Any]) -> None:
    task.cancel()
    await asyncio.wait({task})
    if not task.cancelled() and isinstance(error := task.exception(), TimeoutError | ConnectionError):
        log.info("a subscriber is gone", extra={"why": type(error).__name__})
