"""Which slot a conversation gets in the text engine: its own again while free, so that its state is warm (M04)."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class SlotTable:
    """Slots in use and whose state each holds; waiting is first come, first served."""

    def __init__(self, count: int) -> None:
        self._free: OrderedDict[int, str] = OrderedDict((slot, "") for slot in range(count))  # longest unused first
        self._gate = asyncio.Semaphore(count)

    @asynccontextmanager
    async def hold(self, session: str) -> AsyncIterator[int]:
        """A slot for the length of the block: the session's last one if free, else an unclaimed, else the oldest."""
        async with self._gate:
            slot = self._choose(session)
            del self._free[slot]
            try:
                yield slot
            finally:
                self._free[slot] = session

    def _choose(self, session: str) -> int:
        if session:
            for slot, owner in self._free.items():
                if owner == session:
                    return slot
        return next((slot for slot, owner in self._free.items() if not owner), next(iter(self._free)))
