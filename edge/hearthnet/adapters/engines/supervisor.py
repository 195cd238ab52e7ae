"""Keeps one engine's child alive while it is wanted: start on first use, back-off, circuit breaker, idle end (M04)."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar

from hearthnet.base.errors import EngineDied, Unavailable
from hearthnet.ports import EngineStatus

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from hearthnet.ports import Clock

_log: Final = logging.getLogger(__name__)
BREAKER_CRASHES: Final = 3
BREAKER_WINDOW_S: Final = 600.0
_BACK_OFF_S: Final = (0.0, 0.2, 1.0)  # before the 1st, 2nd, 3rd start of a series


class Child(Protocol):
    """What the supervisor needs of a running child."""

    @property
    def pid(self) -> int:
        """Process id."""

    @property
    def ended(self) -> asyncio.Event:
        """Set when the process is gone."""

    def death(self) -> EngineDied:
        """Why it is gone."""

    async def kill(self, reason: str) -> None:
        """End it now."""

    async def close(self) -> None:
        """End it in order."""


C = TypeVar("C", bound=Child)


class CrashGuard:
    """Remembers crashes: how long to wait before the next start, and when to stop trying."""

    def __init__(self) -> None:
        self._crashes: deque[float] = deque(maxlen=BREAKER_CRASHES)
        self.reason = ""
        self.total = 0

    def crashed(self, now: float, reason: str) -> None:
        """Note a crash."""
        self._crashes.append(now)
        self.reason = reason
        self.total += 1

    def recent(self, now: float) -> int:
        """Crashes inside the window."""
        return sum(1 for at in self._crashes if now - at < BREAKER_WINDOW_S)

    def back_off_s(self, now: float) -> float:
        """How long the next start has to wait, counted from the last crash."""
        recent = self.recent(now)
        if not recent:
            return 0.0
        return max(0.0, self._crashes[-1] + _BACK_OFF_S[min(recent, len(_BACK_OFF_S) - 1)] - now)

    def open_for_s(self, now: float) -> float:
        """How long no start is tried; 0 = may start."""
        if self.recent(now) < BREAKER_CRASHES:
            return 0.0
        return self._crashes[0] + BREAKER_WINDOW_S - now

    def check(self, name: str, now: float) -> None:
        """Raise Unavailable with the reason and the time of the next try while the breaker is open."""
        wait_s = self.open_for_s(now)
        if wait_s > 0:
            raise Unavailable(
                f"{name} ended {BREAKER_CRASHES} times in {BREAKER_WINDOW_S / 60:g} minutes, last: {self.reason}",
                fix="wait, or run: hearthnet doctor",
                retry_after_ms=round(wait_s * 1000),
            )


class Supervisor(Generic[C]):
    """One engine: `lease` gives its running child, starting it when needed; the last lease starts the idle clock."""

    def __init__(self, name: str, start: Callable[[], Awaitable[C]], clock: Clock, *, idle_s: float) -> None:
        self.name = name
        self._start = start
        self._clock = clock
        self._idle_s = idle_s
        self._guard = CrashGuard()
        self._child: C | None = None
        self._starting = False
        self._leases = 0
        self._gate = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._idle: asyncio.Task[None] | None = None
        self._closed = False

    @asynccontextmanager
    async def lease(self) -> AsyncIterator[C]:
        """The running child for the length of the block; raises Unavailable or EngineDied."""
        self._leases += 1
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        try:
            yield await self._running()
        finally:
            self._leases -= 1
            if not self._leases and self._idle_s and self._child is not None:
                self._idle = self._spawn(self._end_when_idle())

    @property
    def running(self) -> bool:
        """Whether the child is loaded."""
        return self._child is not None and not self._child.ended.is_set()

    @property
    def in_use(self) -> bool:
        """Whether somebody holds a lease."""
        return self._leases > 0

    def available(self) -> bool:
        """Whether a lease could work now."""
        return not self._closed and self._guard.open_for_s(self._clock.monotonic()) <= 0

    def status(self) -> EngineStatus:
        """State for status and doctor."""
        now = self._clock.monotonic()
        if self._starting:
            state, detail = "starting", ""
        elif self.running:
            state, detail = "ready", ""
        elif self._guard.open_for_s(now) > 0 or self._guard.back_off_s(now) > 0:
            state, detail = "backing_off", self._guard.reason
        else:
            state, detail = "idle", self._guard.reason
        pid = self._child.pid if self._child is not None and self.running else 0
        return EngineStatus(self.name, state, detail, "", pid, _rss_bytes(pid), self._guard.total)

    async def unload(self) -> None:
        """End the child now; the next lease starts it again."""
        child, self._child = self._child, None
        if child is not None:
            await child.close()

    async def close(self) -> None:
        """End the child and refuse further leases."""
        self._closed = True
        await self.unload()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _running(self) -> C:
        async with self._gate:
            if self._closed:
                raise Unavailable(f"{self.name} is closed")
            if self._child is None or self._child.ended.is_set():
                self._child = await self._begin()
            return self._child

    async def _begin(self) -> C:
        self._guard.check(self.name, self._clock.monotonic())
        await self._clock.sleep(self._guard.back_off_s(self._clock.monotonic()))
        self._starting = True
        try:
            child = await self._start()
        except EngineDied as error:
            self._guard.crashed(self._clock.monotonic(), error.detail)
            raise
        finally:
            self._starting = False
        _log.info("%s started, pid %d", self.name, child.pid)
        self._spawn(self._note_end(child))
        return child

    async def _note_end(self, child: C) -> None:
        await child.ended.wait()
        if self._child is child and not self._closed:
            reason = child.death().detail
            self._guard.crashed(self._clock.monotonic(), reason)
            _log.warning("%s ended: %s", self.name, reason)

    async def _end_when_idle(self) -> None:
        await self._clock.sleep(self._idle_s)
        self._idle = None
        _log.info("%s ended after %g s without work", self.name, self._idle_s)
        await self.unload()

    def _spawn(self, work: Awaitable[None]) -> asyncio.Task[None]:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _rss_bytes(pid: int) -> int:
    if not pid:
        return 0
    try:
        with open(f"/proc/{pid}/statm", encoding="ascii") as file:  # noqa: PTH123  one line, often
            return int(file.read().split()[1]) * 4096
    except (OSError, ValueError, IndexError):
        return 0
