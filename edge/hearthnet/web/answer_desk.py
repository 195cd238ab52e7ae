"""Answers in the making: each runs once, anybody of its owner may watch, come back or stop it (M08).

The work goes on while its page is away for a short while and ends when nobody comes back.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

from hearthnet.base.errors import HearthNetError, InternalError
from hearthnet.mesh.answers import ChatInput, ChatParams, Done, Failed, Frame, Message, Token

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Sequence

    from hearthnet.mesh.capability import Caller
    from hearthnet.mesh.conversations import Conversations, Turn
    from hearthnet.mesh.services import Bus, Services

UNWATCHED_S: Final = 20.0
_CONTEXT_TURNS: Final = 6


class RunningAnswer:
    """One answer while it is made."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.ended = False
        self.watchers = 0
        self.stopped = False
        self.pump: asyncio.Task[None] | None = None
        self._news = asyncio.Condition()

    def stop(self) -> None:
        """End the work; what was written stays."""
        self.stopped = True
        if self.pump is not None:
            self.pump.cancel()

    async def add(self, frame: Frame) -> None:
        """Append a frame and wake the watchers; the first terminal frame ends the answer."""
        async with self._news:
            if not self.ended:
                self.frames.append(frame)
                self.ended = isinstance(frame, Done | Failed)
                self._news.notify_all()

    async def watch(self) -> AsyncIterator[list[Frame]]:
        """All frames from the first, in batches of what is new."""
        seen = 0
        while True:
            async with self._news:
                while seen == len(self.frames) and not self.ended:
                    await self._news.wait()
                batch = self.frames[seen:]
            seen += len(batch)
            if batch:
                yield batch
            if self.ended and seen == len(self.frames):
                return


class AnswerDesk:
    """Starts, shows and stops answers; keeps finished ones in the conversation."""

    def __init__(self, bus: Bus, services: Services, conversations: Conversations) -> None:
        self._bus = bus
        self._services = services
        self._conversations = conversations
        self._running: dict[tuple[str, int], RunningAnswer] = {}

    def find(self, conversation: str, number: int) -> RunningAnswer | None:
        """The answer if it is being made now."""
        return self._running.get((conversation, number))

    def start(self, caller: Caller, conversation: str, turns: Sequence[Turn], language: str) -> RunningAnswer:
        """Begin the answer to the last of `turns`; an answer under way is returned as it is."""
        key = (conversation, turns[-1].number)
        running = self._running.get(key)
        if running is None:
            running = self._running[key] = RunningAnswer()
            frames = self._bus.stream(
                "llm.chat@1.0",
                ChatParams(language=language),
                ChatInput(messages=_messages(turns), conversation=conversation),
                caller=caller,
            )
            self._services.spawn("web.answer", self._run(key, running, frames))
        return running

    async def watch(self, running: RunningAnswer) -> AsyncGenerator[list[Frame], None]:
        """Batches of frames; when the last watcher leaves early, the answer ends after a while."""
        running.watchers += 1
        try:
            async for batch in running.watch():
                yield batch
        finally:
            running.watchers -= 1
            if not running.watchers and not running.ended:
                self._services.spawn("web.answer.unwatched", self._end_unwatched(running))

    def stop(self, conversation: str, number: int) -> bool:
        """End an answer; what was written stays. False when none is under way."""
        running = self._running.get((conversation, number))
        if running is None:
            return False
        running.stop()
        return True

    async def _end_unwatched(self, running: RunningAnswer) -> None:
        await self._services.clock.sleep(UNWATCHED_S)
        if not running.watchers:
            running.stop()

    async def _run(self, key: tuple[str, int], running: RunningAnswer, frames: AsyncGenerator[Frame, None]) -> None:
        running.pump = asyncio.create_task(_pump(running, frames))
        if running.stopped:
            running.pump.cancel()
        try:
            await asyncio.wait({running.pump})
            fault = None if running.pump.cancelled() else running.pump.exception()
            if not running.ended:
                await running.add(_cut(running.frames) if fault is None else Failed(InternalError.code))
            await self._conversations.finish(key[0], key[1], tuple(running.frames))
            if fault is not None:
                raise fault  # a mistake in the program: the supervisor of tasks logs it
        finally:
            running.pump.cancel()
            self._running.pop(key, None)


async def _pump(running: RunningAnswer, frames: AsyncGenerator[Frame, None]) -> None:
    async with contextlib.aclosing(frames) as source:
        try:
            async for frame in source:
                await running.add(frame)
        except HearthNetError as error:
            await running.add(Failed(error.code, error.detail, error.retry_after_ms))


def _cut(frames: Sequence[Frame]) -> Done:
    """The end of a stopped answer; its tier is told by what was written."""
    tokens = [frame for frame in frames if isinstance(frame, Token)]
    quoted = all(token.quoted for token in tokens)
    return Done(stop_reason="cancelled", tier="quoted" if quoted else "small_model", model="")


def _messages(turns: Sequence[Turn]) -> tuple[Message, ...]:
    messages: list[Message] = []
    for turn in turns[-_CONTEXT_TURNS - 1 : -1]:
        words = "".join(frame.text for frame in turn.frames or () if isinstance(frame, Token))
        if words:
            messages += [Message("user", turn.question), Message("assistant", words[:10_000])]
    return (*messages, Message("user", turns[-1].question))
