"""Streaming from a model server, with deadlines for the first and for each further event (M04)."""

from __future__ import annotations

import asyncio
import math
import statistics
from collections import deque
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import msgspec

from hearthnet.adapters.engines.sse import EventReader
from hearthnet.base.errors import (
    BadRequest,
    CapacityExceeded,
    EngineDied,
    HearthNetError,
    NotFound,
    Unavailable,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Mapping

    from hearthnet.ports import Clock

_BETWEEN_FLOOR_S: Final = 3.0
_BETWEEN_FACTOR: Final = 10.0
_LOOK_S: Final = 0.5
_ERROR_MAX_BYTES: Final = 65_536


class Pulse:
    """When a server last said something on any of its streams: reading one long prompt can silence the others."""

    def __init__(self) -> None:
        self.at = -math.inf


class Patience:
    """How long silence may last: `first_s` before the first event, then ten times the usual gap, at least 3 s.

    With a pulse, a stream is lost only when the whole server is silent.
    """

    def __init__(self, first_s: float, now: float, pulse: Pulse | None = None) -> None:
        self._first_s = first_s
        self._pulse = pulse or Pulse()
        self._gaps: deque[float] = deque(maxlen=64)
        self._last = now
        self._begun = False

    def heard(self, now: float) -> None:
        """Note an event."""
        if self._begun:
            self._gaps.append(now - self._last)
        self._begun = True
        self._last = self._pulse.at = now

    def limit_s(self) -> float:
        """The longest silence allowed now."""
        if not self._begun:
            return self._first_s
        usual = statistics.median(self._gaps) if self._gaps else self._first_s / _BETWEEN_FACTOR
        return max(_BETWEEN_FLOOR_S, _BETWEEN_FACTOR * usual)

    def lost(self, now: float) -> bool:
        """Whether the silence has lasted too long."""
        return now - max(self._last, self._pulse.at) > self.limit_s()


async def stream_events(
    post: Coroutine[None, None, aiohttp.ClientResponse],
    patience: Patience,
    clock: Clock,
    on_silence: Callable[[str], Awaitable[None]] | None = None,
) -> AsyncGenerator[bytes, None]:
    """The data of each event; leaving the iterator closes the connection, which frees the server's slot.

    Raises EngineDied when the connection breaks or falls silent (after `on_silence`), else what the status means.
    """
    watch = _Watch(patience, clock, on_silence, asyncio.create_task(post))
    reader = EventReader()
    try:
        response = await watch.response()
        if response.status != 200:
            raise _explain(response.status, response.headers, await response.content.read(_ERROR_MAX_BYTES))
        async for data in response.content.iter_any():
            events = reader.feed(data)
            if events:
                patience.heard(clock.monotonic())
            for event in events:
                yield event
    except aiohttp.ClientConnectorError as error:
        raise EngineDied(f"no connection to the model server: {error}") from None
    except (aiohttp.ClientError, ConnectionError) as error:
        reason = watch.broken or str(error)[:200] or type(error).__name__
        raise EngineDied(f"the model server ended the answer: {reason}") from None
    finally:
        await watch.close()


class _Watch:
    """Ends a request that is silent for longer than patience allows."""

    def __init__(
        self,
        patience: Patience,
        clock: Clock,
        on_silence: Callable[[str], Awaitable[None]] | None,
        opening: asyncio.Task[aiohttp.ClientResponse],
    ) -> None:
        self.broken = ""
        self._patience = patience
        self._clock = clock
        self._on_silence = on_silence
        self._opening = opening
        self._task = asyncio.create_task(self._run())

    async def response(self) -> aiohttp.ClientResponse:
        """The response once its head is there; raises EngineDied when it does not come."""
        try:
            return await self._opening
        except asyncio.CancelledError:
            if self.broken:
                raise EngineDied(f"the model server did not answer: {self.broken}") from None
            raise

    async def close(self) -> None:
        """Stop watching and close the connection."""
        self._task.cancel()
        self._opening.cancel()
        await asyncio.gather(self._opening, self._task, return_exceptions=True)
        self._drop()

    async def _run(self) -> None:
        while not self._patience.lost(self._clock.monotonic()):
            await self._clock.sleep(_LOOK_S)
        self.broken = f"silent for {self._patience.limit_s():.3g} s"
        if self._on_silence is not None:
            await self._on_silence(self.broken)
        self._opening.cancel()
        self._drop()

    def _drop(self) -> None:
        if self._opening.done() and not self._opening.cancelled() and self._opening.exception() is None:
            self._opening.result().close()


def _explain(status: int, headers: Mapping[str, str], body: bytes) -> HearthNetError:
    detail = _message(body) or f"status {status}"
    if status in (400, 413, 422):
        return BadRequest(f"the model server refuses the request: {detail}")
    if status in (401, 403):
        return Unavailable(f"the model server refuses the key: {detail}", fix="set the variable named by api_key_env")
    if status == 404:
        return NotFound(f"the model server does not know the model: {detail}")
    if status in (429, 503):
        wait = headers.get("Retry-After", "")
        return CapacityExceeded(
            f"the model server is busy: {detail}", retry_after_ms=int(wait) * 1000 if wait.isdigit() else 5000
        )
    return Unavailable(f"the model server failed: {detail}")


def _message(body: bytes) -> str:
    try:
        found: Any = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return body[:200].decode("utf-8", "replace")
    error = found.get("error", found) if isinstance(found, dict) else found
    text = error.get("message", "") if isinstance(error, dict) else error
    return str(text)[:300]
