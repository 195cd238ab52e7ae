"""Virtual time for whole programs: an event loop that skips to the next timer instead of waiting for it.

Everything built on asyncio runs unchanged under it, timeouts included; a thousand nodes live a minute in seconds. Work
in other threads is waited for in real time, because nobody knows how long it takes.
"""

from __future__ import annotations

import asyncio
import selectors
from typing import TYPE_CHECKING, Any, Final, TypeVar

from hearthnet.base.errors import InternalError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from _typeshed import FileDescriptorLike

T = TypeVar("T")

STUCK_AFTER_S: Final = 10.0  # of real time without anything that could happen
_FIRST: Final = 1000.0  # no test may take the loop's zero for "never"


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose `time` moves only from timer to timer."""

    def __init__(self) -> None:
        self._now = _FIRST
        self.threads = 0
        super().__init__(_SkippingSelector(self))

    def time(self) -> float:
        """Virtual seconds."""
        return self._now

    def skip(self, seconds: float) -> None:
        """Move time; the selector's business."""
        self._now += seconds

    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:  # type: ignore[override]  # *args have no types here
        """As always; time stands still until the thread is done."""
        self.threads += 1
        future = super().run_in_executor(executor, func, *args)
        future.add_done_callback(self._thread_done)
        return future

    def _thread_done(self, _: asyncio.Future[Any]) -> None:
        self.threads -= 1


class LoopClock:
    """The running loop's time behind the Clock port."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        """`now`: the wall clock when the loop began."""
        self._offset = now - _FIRST

    def now(self) -> float:
        """Wall clock."""
        return self._offset + asyncio.get_running_loop().time()

    def monotonic(self) -> float:
        """The loop's own seconds."""
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        """Wait; cancellable."""
        await asyncio.sleep(seconds)


def run_virtual(work: Coroutine[Any, Any, T]) -> T:
    """`asyncio.run` under virtual time; raises InternalError when nothing can ever happen again."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(work)


class _SkippingSelector(selectors.BaseSelector):
    """Looks at sockets without waiting; what would have been waited for becomes virtual time."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self._real = selectors.DefaultSelector()

    def register(self, fileobj: FileDescriptorLike, events: int, data: Any = None) -> selectors.SelectorKey:
        """As the real one."""
        return self._real.register(fileobj, events, data)

    def unregister(self, fileobj: FileDescriptorLike) -> selectors.SelectorKey:
        """As the real one."""
        return self._real.unregister(fileobj)

    def modify(self, fileobj: FileDescriptorLike, events: int, data: Any = None) -> selectors.SelectorKey:
        """As the real one."""
        return self._real.modify(fileobj, events, data)

    def close(self) -> None:
        """As the real one."""
        self._real.close()

    def get_map(self) -> Mapping[FileDescriptorLike, selectors.SelectorKey]:
        """As the real one."""
        return self._real.get_map()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """What is ready now; else time has moved."""
        if self._loop.threads and timeout != 0:
            return self._real.select(STUCK_AFTER_S)
        if timeout is None:
            ready = self._real.select(STUCK_AFTER_S)
            if not ready:
                raise InternalError("the virtual loop is stuck: no timer, no socket, no thread")
            return ready
        # the loop's own wake-up pipe needs no look, and asking the kernel costs more than a callback
        ready = self._real.select(0) if len(self._real.get_map()) > 1 or self._loop.threads else []
        if not ready and timeout > 0:
            self._loop.skip(timeout)
        return ready
