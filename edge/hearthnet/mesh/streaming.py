"""Frames between a handler and its reader: a bounded buffer with back-pressure, one terminal frame (M03)."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING, Any

from hearthnet.base.constants import CANCEL_WITHIN_S, STREAM_WINDOW_FRAMES
from hearthnet.base.errors import HearthNetError, InternalError, error_from_wire

if TYPE_CHECKING:
    from hearthnet.mesh.invocation import Invocation

log = logging.getLogger(__name__)


class Channel:
    """One writer, one reader; the writer waits while `STREAM_WINDOW_FRAMES` frames are unread."""

    def __init__(self, size: int = STREAM_WINDOW_FRAMES) -> None:
        self._frames: deque[Any] = deque()
        self._size = size
        self._closed = False
        self._error: Exception | None = None
        self._changed: asyncio.Future[None] | None = None

    async def put(self, frame: Any) -> None:
        """Hand over a frame; waits while the buffer is full."""
        while len(self._frames) >= self._size:
            await self._wait()
        self._frames.append(frame)
        self._wake()

    def close(self, error: Exception | None) -> None:
        """No more frames: the reader gets those that wait, then the end or the error. The first close counts."""
        if not self._closed:
            self._closed, self._error = True, error
            self._wake()

    @property
    def is_closed(self) -> bool:
        """Whether the last frame was put."""
        return self._closed

    async def get(self) -> Any:
        """The next frame; None at the end, or the error it was closed with is raised."""
        while not self._frames:
            if self._closed:
                if self._error is not None:
                    raise self._error
                return None
            await self._wait()
        frame = self._frames.popleft()
        self._wake()
        return frame

    async def _wait(self) -> None:
        self._changed = asyncio.get_running_loop().create_future()
        await self._changed

    def _wake(self) -> None:
        if self._changed is not None and not self._changed.done():
            self._changed.set_result(None)


async def forward(running: Invocation, channel: Channel) -> HearthNetError | None:
    """Move frames from the handler to the reader; the error of an error frame, None after a good end."""
    codec = running.entry.codec
    frames = running.entry.invoke(running.call, running.params, running.request)
    ended, failure = False, None
    try:
        async for frame in frames:
            if ended:
                raise InternalError(f"{running.entry.name} sent a frame after its last one")
            checked, body = codec.check(frame)
            running.bytes_out += len(body)
            await channel.put(checked)
            if codec.is_terminal(checked):
                ended, failure = True, failure_in(checked)
                running.count_tokens(checked)
                channel.close(None)  # the reader is served; the handler may still tidy up
    finally:
        if (aclose := getattr(frames, "aclose", None)) is not None:
            await aclose()
    if running.cancels:
        raise TimeoutError
    if not ended:
        raise InternalError(f"{running.entry.name} stopped without its last frame")
    return failure


def failure_in(frame: Any) -> HearthNetError | None:
    """The error of an error frame."""
    code = getattr(frame, "error", None)
    return None if code is None else error_from_wire(code, getattr(frame, "message", ""))


def is_progress(frame: Any) -> bool:
    """Whether a frame only says how far the work is; nothing of the reply was given out by it."""
    return bool(frame.__struct_config__.tag == "progress")


async def stop(pump: asyncio.Task[None], channel: Channel, running: Invocation) -> None:
    """The reader is done: cancel the handler unless it has sent its last frame; wait for it a moment."""
    if not channel.is_closed:
        pump.cancel()
    done, _ = await asyncio.wait({pump}, timeout=CANCEL_WITHIN_S)
    if not done and not channel.is_closed:
        log.warning("stream does not end when cancelled", extra=running.names())
        pump.cancel()
