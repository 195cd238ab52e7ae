"""Background tasks with a name, a log line when they fail, and an orderly end (M12)."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Coroutine

log = logging.getLogger(__name__)


class Supervisor:
    """Runs tasks until they end; a failure is logged with the task's name and leaves the others alone."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self.failures: list[str] = []

    def spawn(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Start `work`; call only inside the running loop."""
        task = asyncio.get_running_loop().create_task(self._watch(name, work), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Cancel all tasks and wait until they are gone."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _watch(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception:  # the supervisor of tasks: logs and goes on
            self.failures.append(name)
            log.exception("task %s failed", name)
