"""The machine's own clocks behind the Clock port; the virtual one is in `clock_fake` (X03)."""

from __future__ import annotations

import asyncio
import time


class SystemClock:
    """Wall clock (seconds since 1970 as the machine believes; may jump), monotonic clock, cancellable sleep.

    The functions themselves stand here, not wrappers: the bus reads both clocks for every call.
    """

    now = staticmethod(time.time)
    monotonic = staticmethod(time.monotonic)

    async def sleep(self, seconds: float) -> None:
        """Wait; cancellable."""
        await asyncio.sleep(seconds)
