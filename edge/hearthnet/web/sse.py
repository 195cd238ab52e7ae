"""Server-sent events out of a stream of frames: refusals as HTTP errors, faults later as a last event (X01)."""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Protocol

from aiohttp import web

from hearthnet.base.constants import STREAM_ACK_TIMEOUT_S
from hearthnet.base.errors import HearthNetError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

log = logging.getLogger(__name__)

READER_TIMEOUT_S = STREAM_ACK_TIMEOUT_S  # a reader that takes nothing for so long is let go
_HEADERS = {"Content-Type": "text/event-stream; charset=utf-8", "X-Accel-Buffering": "no"}


class Writer(Protocol):
    """Turns frames into the bytes of a door's dialect."""

    def frame(self, frame: Any) -> bytes:
        """The events of one frame; empty = nothing to send."""

    def fault(self, error: HearthNetError) -> bytes:
        """The events that tell of an error in the middle."""

    def end(self) -> bytes:
        """The events after the last frame."""


async def send_events(request: web.Request, frames: AsyncGenerator[Any, None], writer: Writer) -> web.StreamResponse:
    """Send every frame as soon as it is there; raises what refused the stream before its first frame.

    When the client goes away, or reads nothing for `READER_TIMEOUT_S`, the frames are closed, which frees whatever
    makes them.
    """
    response = web.StreamResponse(headers=_HEADERS)
    async with aclosing(frames):
        first = await anext(frames)
        await response.prepare(request)
        try:
            await _send(response, writer.frame(first))
            async for frame in frames:
                await _send(response, writer.frame(frame))
            await _send(response, writer.end())
        except HearthNetError as error:
            await _send(response, writer.fault(error))
        except (TimeoutError, ConnectionError) as fault:
            log.info("the reader of a stream is gone", extra={"why": type(fault).__name__, "path": request.path})
            if request.transport is not None:
                request.transport.abort()
    return response


async def _send(response: web.StreamResponse, data: bytes) -> None:
    if data:
        async with asyncio.timeout(READER_TIMEOUT_S):
            await response.write(data)
