"""Deadlines of running calls: one sleeping watcher per timeout, not one timer per call (M03).

All calls with the same timeout expire in the order in which they began, so a lane looks at its oldest call only.
Watching a call costs two dictionary operations; the watcher sleeps until the oldest deadline and ends when nothing
runs.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from hearthnet.base.constants import CANCEL_WITHIN_S

if TYPE_CHECKING:
    from hearthnet.mesh.invocation import Invocation
    from hearthnet.ports import Clock

log = logging.getLogger(__name__)


class Lane:
    """Running calls of one timeout, oldest first.

    At its deadline the call's task is cancelled. Cleaning up may take `CANCEL_WITHIN_S`; after that the task is
    cancelled again, each time with a line in the log, until it ends.
    """

    __slots__ = ("_clock", "_late", "_running", "_watcher", "timeout_s")

    def __init__(self, clock: Clock, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self._clock = clock
        self._running: dict[Invocation, None] = {}
        self._late: dict[Invocation, float] = {}
        self._watcher: asyncio.Task[None] | None = None

    def add(self, running: Invocation) -> None:
        """Watch a call whose deadline is `timeout_s` from now."""
        self._running[running] = None
        if self._watcher is None or self._watcher.done():
            self._watcher = asyncio.get_running_loop().create_task(self._watch(), name="bus deadlines")

    def remove(self, running: Invocation) -> None:
        """The call has ended; it is never cancelled after this."""
        if self._running.pop(running, self) is self:
            self._late.pop(running, None)

    async def close(self) -> None:
        """End the watcher; calls that still run are no longer watched."""
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            watcher.cancel()
            await asyncio.wait({watcher})

    async def _watch(self) -> None:
        await self._clock.sleep(self.timeout_s)  # nobody is due earlier; calls that come and go meanwhile start no task
        while (due := self._next()) is not None:
            await self._clock.sleep(max(0.0, due - self._clock.monotonic()))
            self._expire(self._clock.monotonic())
        self._watcher = None

    def _next(self) -> float | None:
        oldest = next(iter(self._running), None)
        due = [] if oldest is None else [oldest.deadline]
        due.extend(self._late.values())
        return min(due, default=None)

    def _expire(self, now: float) -> None:
        expired = []
        for running in self._running:
            if running.deadline > now:
                break
            expired.append(running)
        for running in expired:
            del self._running[running]
            self._late[running] = now + CANCEL_WITHIN_S
            running.cancel()
        for running, due in self._late.items():
            if due <= now:
                log.warning("call does not end when cancelled", extra=running.names())
                self._late[running] = now + CANCEL_WITHIN_S
                running.cancel()


class Deadlines:
    """The lanes of a bus, one per timeout."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lanes: dict[float, Lane] = {}

    def lane(self, timeout_s: float) -> Lane:
        """The lane of this timeout, made at first use."""
        if timeout_s not in self._lanes:
            self._lanes[timeout_s] = Lane(self._clock, timeout_s)
        return self._lanes[timeout_s]

    async def close(self) -> None:
        """End all watchers."""
        for lane in self._lanes.values():
            await lane.close()
