"""Virtual time for tests: nothing waits, everything happens in order."""

from __future__ import annotations

import asyncio
import heapq
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hearthnet.ports import Clock


class FakeClock:
    """A clock that moves only by `advance`; sleepers wake in the order of their times."""

    def __init__(self, now: float = 1_800_000_000.0, monotonic: float = 1000.0) -> None:
        self._now = now
        self._monotonic = monotonic
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = count()

    def now(self) -> float:
        """Virtual wall clock."""
        return self._now

    def monotonic(self) -> float:
        """Virtual monotonic clock."""
        return self._monotonic

    def jump(self, seconds: float) -> None:
        """Set only the wall clock forward or back, as NTP or a dead battery does."""
        self._now += seconds

    async def sleep(self, seconds: float) -> None:
        """Wait until `advance` has moved time far enough; zero gives way once."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._monotonic + seconds, next(self._order), woken))
        await woken

    async def advance(self, seconds: float) -> None:
        """Move time forward, waking sleepers on the way and letting them run before the next one."""
        end = self._monotonic + seconds
        await _settle()
        while self._sleepers and self._sleepers[0][0] <= end:
            at, _, woken = heapq.heappop(self._sleepers)
            self._step(at)
            if not woken.done():
                woken.set_result(None)
            await _settle()
        self._step(end)
        await _settle()

    @property
    def sleepers(self) -> int:
        """Coroutines that wait for time to pass."""
        return sum(1 for _, _, woken in self._sleepers if not woken.done())

    def _step(self, to: float) -> None:
        passed = max(0.0, to - self._monotonic)
        self._monotonic += passed
        self._now += passed


class SkewedClock:
    """The clock of one node among others: its wall clock is wrong, its boot was at another time."""

    def __init__(self, true: Clock, *, wall_s: float = 0.0, boot_s: float = 0.0) -> None:
        self._true = true
        self.wall_s = wall_s
        self._boot_s = boot_s

    def now(self) -> float:
        """What this node believes."""
        return self._true.now() + self.wall_s

    def monotonic(self) -> float:
        """Seconds since its own arbitrary point."""
        return self._true.monotonic() + self._boot_s

    async def sleep(self, seconds: float) -> None:
        """Wait as long as everybody else."""
        await self._true.sleep(seconds)


async def _settle() -> None:
    for _ in range(20):  # let chains of callbacks run out
        await asyncio.sleep(0)
