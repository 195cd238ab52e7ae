"""Waiting for whichever comes first: time or news (M12)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hearthnet.ports import Clock


async def rest(clock: Clock, seconds: float, woken: asyncio.Event) -> None:
    """Sleep so long, or until `woken` is set. Clear it before the last look for work, or without an await after it."""
    waiting = [asyncio.ensure_future(clock.sleep(seconds)), asyncio.ensure_future(woken.wait())]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()
