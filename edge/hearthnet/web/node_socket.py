"""Streams over a web socket: `GET /bus/v1/call`, subprotocol `hearthnet-bus.v2`, one call each (X01 "Streams").

The first message is the signed call. At most 16 frames are on their way unread; the reader acknowledges every eighth
one and has 5 s when the window is full. `cancel`, and a socket that closes, end the handler within 200 ms. Exactly one
terminal frame is sent, then the socket is closed.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing
from typing import TYPE_CHECKING, Final

from aiohttp import WSMsgType, web

from hearthnet.base.constants import REQUEST_MAX_BYTES, STREAM_ACK_TIMEOUT_S, WEBSOCKET_IDLE_CLOSE_S, WEBSOCKET_PING_S
from hearthnet.base.errors import (
    BadRequest,
    CallTimeout,
    Dropped,
    FrameMalformed,
    HearthNetError,
    InternalError,
    NotImplementedHere,
)
from hearthnet.base.types import TraceID
from hearthnet.mesh.replies import encode_error
from hearthnet.web.node_door import NODE_DOOR, NodeDoor, Proof
from hearthnet.web.proof import prove_signed
from hearthnet.wire import canonical
from hearthnet.wire.frame import TERMINAL_EVENTS, encode_ws
from hearthnet.wire.rpc import open_envelope, verify_call
from hearthnet.wire.stream import StreamSender
from hearthnet.wire.stream_message import (
    SUBPROTOCOL,
    AckMessage,
    CallMessage,
    CancelMessage,
    StreamMessage,
    ToolResultMessage,
    decode_message,
)

if TYPE_CHECKING:
    from typing import Any

log = logging.getLogger(__name__)

IDLE_CLOSE_S: Final = WEBSOCKET_IDLE_CLOSE_S
FIRST_MESSAGE_WITHIN_S: Final = 10.0
ACK_WITHIN_S: Final = STREAM_ACK_TIMEOUT_S
_CLOSE_WITHIN_S: Final = 2.0


async def answer_socket(request: web.Request) -> web.StreamResponse:
    """One streamed call; 426 for who does not speak the subprotocol and falls back to server-sent events."""
    socket = web.WebSocketResponse(
        protocols=(SUBPROTOCOL,), heartbeat=WEBSOCKET_PING_S, max_msg_size=REQUEST_MAX_BYTES, timeout=_CLOSE_WITHIN_S,
        compress=False, autoclose=False,
    )  # fmt: skip
    ready = socket.can_prepare(request)
    if not ready.ok or ready.protocol != SUBPROTOCOL:
        error = NotImplementedHere("calls are POSTed, or come over a web socket", fix=f"subprotocol {SUBPROTOCOL}")
        return web.Response(status=426, body=encode_error(error), content_type="application/json")
    await socket.prepare(request)
    await _Line(socket, request.app[NODE_DOOR]).serve(request)
    return socket


class _Line:
    """One socket with its call."""

    def __init__(self, socket: web.WebSocketResponse, node: NodeDoor) -> None:
        self._socket = socket
        self._node = node
        self._sender = StreamSender()
        self._acked = asyncio.Event()
        self._spoke_at = self._now()

    async def serve(self, request: web.Request) -> None:
        """From the first message to the close."""
        try:
            proof = await self._greet(request)
        except HearthNetError as error:
            await self._end("error", encode_error(error))
            if isinstance(error, Dropped) and request.transport is not None:
                request.transport.abort()
            return
        if proof is None:
            return
        writer = asyncio.get_running_loop().create_task(self._write(proof), name=f"socket {proof.name}")
        reader = asyncio.get_running_loop().create_task(self._read(), name=f"acks of {proof.name}")
        try:
            await asyncio.wait((writer, reader), return_when=asyncio.FIRST_COMPLETED)
        finally:
            await _finish(writer)  # closes the frames, which ends the handler
            await _finish(reader)
        await self._close(writer, reader)

    async def _greet(self, request: web.Request) -> Proof | None:
        """Who calls what; None when the socket was closed without a word."""
        try:
            message = await self._receive(FIRST_MESSAGE_WITHIN_S)
        except TimeoutError as error:
            raise CallTimeout("no call came over the socket") from error
        if message is None:
            return None
        if not isinstance(message, CallMessage):
            raise BadRequest("the first message is the call")
        call = open_envelope(message.envelope, message.signature)
        verify_call(call, receiver=self._node.key.node_id)
        proof = prove_signed(request, call)
        if not self._node.server.streams(proof.name):
            raise BadRequest(f"{proof.name} does not stream its reply", fix="POST the call")
        return proof

    async def _write(self, proof: Proof) -> None:
        """Frames from the handler to the socket, no faster than they are read; raises what refused the call."""
        content = proof.call.form if proof.call is not None else b""
        frames = self._node.server.answer_stream(proof.sender, proof.name, content, TraceID(proof.request_id))
        async with aclosing(frames):
            async for event, data in frames:
                if event not in TERMINAL_EVENTS:
                    await self._wait_for_room()
                await self._send(event, data)

    async def _wait_for_room(self) -> None:
        while not self._sender.is_ready:
            self._acked.clear()
            try:
                async with asyncio.timeout(ACK_WITHIN_S):
                    await self._acked.wait()
            except TimeoutError as error:
                raise CallTimeout("the reader acknowledges nothing") from error

    async def _read(self) -> None:
        """Acknowledgements until `cancel` or the end; raises FrameMalformed, NotImplementedHere."""
        while True:
            try:
                message = await self._receive(IDLE_CLOSE_S)
            except TimeoutError:
                if self._now() - self._spoke_at < IDLE_CLOSE_S:
                    continue
                return
            if message is None or isinstance(message, CancelMessage):
                self._sender.cancel()
                return
            if isinstance(message, CallMessage):
                raise FrameMalformed("one call over one socket")
            if isinstance(message, ToolResultMessage):
                raise NotImplementedHere("no capability of this node asks its caller for tools")
            self._take(message)

    def _take(self, message: AckMessage) -> None:
        self._sender.ack(message.upto)
        self._acked.set()

    async def _receive(self, within_s: float) -> StreamMessage | None:
        """The next message; None when the socket is closed."""
        message = await self._socket.receive(timeout=within_s)
        if message.type is WSMsgType.TEXT:
            self._spoke_at = self._now()
            return decode_message(message.data.encode())
        if message.type is WSMsgType.BINARY:
            raise FrameMalformed("messages are text")
        if message.type is WSMsgType.ERROR:
            raise FrameMalformed("not a web socket message, or one that is too large")
        return None

    async def _close(self, *tasks: asyncio.Task[None]) -> None:
        """The terminal frame, unless it was sent, then the close."""
        for task in tasks:
            error = None if task.cancelled() else task.exception()
            if isinstance(error, HearthNetError):
                await self._end("error", encode_error(error))
                return
            if error is not None and not isinstance(error, ConnectionError):
                log.error("unhandled error in a streamed call", exc_info=error)
                await self._end("error", encode_error(InternalError("the node made a mistake; it is in the log")))
                return
        await self._end("done", b'{"cancelled":true}')

    async def _end(self, event: str, data: bytes) -> None:
        if not self._socket.closed:
            try:
                if not self._sender.closed:
                    await self._send(event, data)
                await self._socket.close()
            except (ConnectionError, TimeoutError):
                log.info("the reader of a stream is gone")

    async def _send(self, event: str, data: bytes) -> None:
        self._spoke_at = self._now()
        frame = self._sender.send(event, canonical.decode(data), self._spoke_at)
        async with asyncio.timeout(ACK_WITHIN_S):
            await self._socket.send_str(encode_ws(frame).decode())

    def _now(self) -> float:
        return asyncio.get_running_loop().time()


async def _finish(task: asyncio.Task[Any]) -> None:
    task.cancel()
    await asyncio.wait({task})
    if not task.cancelled():
        task.exception()  # looked at, so that asyncio does not complain when the reader is gone
