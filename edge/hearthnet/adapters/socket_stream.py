"""The caller's side of a streamed call over a web socket (X01 "Streams").

Frames are acknowledged when whoever reads them asks for the next one, so that a slow reader slows the handler down
there. Leaving early sends `cancel`.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import aiohttp

from hearthnet.base.constants import CANCEL_WITHIN_S, REQUEST_MAX_BYTES, WEBSOCKET_IDLE_CLOSE_S, WEBSOCKET_PING_S
from hearthnet.base.errors import FrameMalformed, HearthNetError, Unavailable
from hearthnet.wire import canonical
from hearthnet.wire.frame import StreamFrame, decode_ws
from hearthnet.wire.reply import ErrorBody
from hearthnet.wire.rpc import HEADER_PREFIX
from hearthnet.wire.stream import StreamReceiver
from hearthnet.wire.stream_message import SUBPROTOCOL, AckMessage, CallMessage, CancelMessage, encode_message

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncGenerator

    from hearthnet.wire.rpc import SignedCall
    from hearthnet.wire.stream_message import StreamMessage

CONNECT_WITHIN_S: Final = 10.0
IDLE_S: Final = WEBSOCKET_IDLE_CLOSE_S  # without a frame; answers to pings are none
_CLOSED = (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSING, aiohttp.WSMsgType.CLOSED)


async def open_socket(
    session: aiohttp.ClientSession, url: str, tls: ssl.SSLContext
) -> tuple[aiohttp.ClientWebSocketResponse, str]:
    """A socket, and the epoch of the node that answered; raises WSServerHandshakeError when it has none."""
    async with asyncio.timeout(CONNECT_WITHIN_S):
        socket = await session.ws_connect(
            url, ssl=tls, protocols=(SUBPROTOCOL,), heartbeat=WEBSOCKET_PING_S, max_msg_size=REQUEST_MAX_BYTES,
            autoclose=False, timeout=aiohttp.ClientWSTimeout(ws_close=CANCEL_WITHIN_S),
        )  # fmt: skip
    headers = socket._response.headers  # noqa: SLF001  aiohttp shows the answer to the upgrade nowhere else
    return socket, headers.get(f"{HEADER_PREFIX}Epoch", "")


async def read_frames(socket: aiohttp.ClientWebSocketResponse, call: SignedCall) -> AsyncGenerator[StreamFrame, None]:
    """The frames of one call; raises what refused it before the first, Unavailable when the socket breaks."""
    receiver = StreamReceiver()
    try:
        await _send(socket, CallMessage(call.envelope(), call.signature))
        while not receiver.closed:
            frame = await _receive(socket)
            upto = receiver.receive(frame)
            if frame.seq == 1 and frame.event == "error":
                raise _refusal(frame)
            yield frame
            if upto is not None:
                await _send(socket, AckMessage(upto))
    finally:
        await _leave(socket, cancelled=not receiver.closed)


async def _receive(socket: aiohttp.ClientWebSocketResponse) -> StreamFrame:
    message = await socket.receive(timeout=IDLE_S)
    if message.type is aiohttp.WSMsgType.TEXT:
        return decode_ws(message.data.encode())
    if message.type in _CLOSED:
        raise Unavailable("the connection broke in the middle of a stream")
    raise FrameMalformed("not a frame")


async def _leave(socket: aiohttp.ClientWebSocketResponse, *, cancelled: bool) -> None:
    try:
        async with asyncio.timeout(CANCEL_WITHIN_S):
            if cancelled and not socket.closed:
                await _send(socket, CancelMessage())
            await socket.close()
    except (TimeoutError, ConnectionError, aiohttp.ClientError):  # it is gone, which cancels as well
        return


async def _send(socket: aiohttp.ClientWebSocketResponse, message: StreamMessage) -> None:
    await socket.send_str(encode_message(message).decode())


def _refusal(frame: StreamFrame) -> HearthNetError:
    return canonical.fit(frame.data, ErrorBody).to_error()
