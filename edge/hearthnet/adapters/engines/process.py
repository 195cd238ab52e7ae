"""The node's side of one child process: start it, call it, notice its death or silence, end it (M04, M11)."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import signal
import sys
from collections import deque
from contextlib import aclosing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import Raw, Struct

import hearthnet
from hearthnet.adapters.engines.guest import Limits
from hearthnet.adapters.engines.pipe import (
    Beat,
    Call,
    Cancel,
    Done,
    Failed,
    FrameReader,
    Message,
    Part,
    Ready,
    Start,
    encode_frame,
    pack,
)
from hearthnet.base.errors import EngineDied, FrameMalformed, Unavailable, error_from_wire

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from hearthnet.ports import Clock

_log: Final = logging.getLogger(__name__)
_PASSED_ON: Final = ("PATH", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "SYSTEMROOT")
_STDERR_LINES: Final = 40
_CHATTER: Final = re.compile(r"[\d.]+ [IWD] |INFO|WARNING|\s*\d+ \|")  # lines that say nothing of an end
_CLOSE_S: Final = 1.0


class Launch(Struct, frozen=True):
    """How to start an engine's child."""

    module: str  # python -m this
    options: Raw = pack(None)
    environment: Mapping[str, str] = {}
    memory_bytes: int = 0
    start_s: float = 60.0  # it must say Ready within this time
    silence_s: float = 60.0  # with calls open, it must say something within this time


class EngineProcess:
    """A running child; made by `launch`. Every pending call raises EngineDied when the child ends."""

    def __init__(self, launch: Launch, child: asyncio.subprocess.Process, clock: Clock) -> None:
        self._launch = launch
        self._child = child
        self._clock = clock
        self._calls: dict[int, asyncio.Queue[Message | None]] = {}
        self._numbers = 0
        self._stderr: deque[str] = deque(maxlen=_STDERR_LINES)
        self._tasks: list[asyncio.Task[None]] = []
        self._reason = ""
        self._spoke_at = clock.monotonic()
        self.detail = Raw()
        self.ended = asyncio.Event()

    @classmethod
    async def launch(cls, launch: Launch, clock: Clock) -> EngineProcess:
        """Start the child and wait until it is ready; raises Unavailable (its own reason) or EngineDied."""
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-s", "-m", launch.module,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            env=_environment(launch), start_new_session=True,
        )  # fmt: skip
        process = cls(launch, child, clock)
        try:
            await process._greet()
        except BaseException:
            await process.kill("the start was given up")
            raise
        return process

    @property
    def pid(self) -> int:
        """Process id of the child."""
        return self._child.pid

    @property
    def busy(self) -> bool:
        """Whether calls are open."""
        return bool(self._calls)

    async def call(self, operation: str, request: object) -> Raw:
        """The result of one operation; cancelling drops it. Raises what the child raised, or EngineDied."""
        async with aclosing(self._converse(operation, request)) as messages:
            async for message in messages:
                if isinstance(message, Done):
                    return message.body
        raise self.death()

    async def stream(self, operation: str, request: object) -> AsyncGenerator[Raw, None]:
        """The parts of a streamed operation, then its result; closing the iterator drops it in the child."""
        async with aclosing(self._converse(operation, request)) as messages:
            async for message in messages:
                yield message.body

    def death(self) -> EngineDied:
        """Why the child is gone, as the error for its callers."""
        last = next((line for line in reversed(self._stderr) if line.strip() and not _CHATTER.match(line)), "")
        return EngineDied(f"{self._launch.module.rpartition('.')[2]}: {self._reason or 'ended'} {last[:200]}".strip())

    async def kill(self, reason: str) -> None:
        """End the child now; open calls raise EngineDied with the reason."""
        self._reason = self._reason or reason
        if self._child.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self._child.pid, signal.SIGKILL)
        await self._reap()

    async def close(self) -> None:
        """End the child in order: it sees the pipe close; if it lingers it is killed."""
        self._reason = self._reason or "closed"
        if self._child.stdin is not None:
            self._child.stdin.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_S):
                await self._child.wait()
        await self.kill("closed")

    async def _greet(self) -> None:
        limits = Limits(os.getpid(), self._launch.memory_bytes)
        self._tasks = [asyncio.create_task(work()) for work in (self._read_messages, self._read_stderr)]
        ready = self._calls[0] = asyncio.Queue()
        await self._send(Start(pack((limits, self._launch.options))))
        alarm = asyncio.create_task(self._give_up_start())
        try:
            message = await ready.get()
        finally:
            alarm.cancel()
            del self._calls[0]
        if isinstance(message, Ready):
            self.detail = message.detail
            self._tasks.append(asyncio.create_task(self._watch()))
        elif isinstance(message, Failed):
            raise Unavailable(message.detail)
        else:
            await self._child.wait()
            raise self.death()

    async def _give_up_start(self) -> None:
        await self._clock.sleep(self._launch.start_s)
        await self.kill(f"not ready after {self._launch.start_s:g} s")

    async def _converse(self, operation: str, request: object) -> AsyncGenerator[Part | Done, None]:
        if self.ended.is_set():
            raise self.death()
        self._numbers += 1
        number, inbox = self._numbers, asyncio.Queue[Message | None]()
        if not self._calls:
            self._spoke_at = self._clock.monotonic()
        self._calls[number] = inbox
        finished = False
        try:
            await self._send(Call(number, operation, pack(request)))
            while True:
                message = await inbox.get()
                if isinstance(message, Beat):
                    continue
                finished = not isinstance(message, Part)
                if isinstance(message, Failed):
                    raise error_from_wire(message.code, message.detail)
                if not isinstance(message, Part | Done):
                    raise self.death()
                yield message
                if finished:
                    return
        finally:
            del self._calls[number]
            if not finished:
                await self._send(Cancel(number))

    async def _send(self, message: Message) -> None:
        pipe = self._child.stdin
        if pipe is None or pipe.is_closing():
            return  # the reader notices the death and tells every caller
        with suppress(BrokenPipeError, ConnectionResetError):
            pipe.write(encode_frame(message))
            await pipe.drain()

    async def _read_messages(self) -> None:
        pipe, reader = self._child.stdout, FrameReader()
        try:
            while pipe is not None and (data := await pipe.read(262_144)):
                self._spoke_at = self._clock.monotonic()
                for message in reader.feed(data):
                    inbox = self._calls.get(getattr(message, "number", 0))
                    if inbox is not None:
                        inbox.put_nowait(message)
        except FrameMalformed as error:
            self._reason = f"spoke nonsense: {error.detail}"
            with suppress(ProcessLookupError):
                os.killpg(self._child.pid, signal.SIGKILL)
        code = await self._child.wait()
        self._reason = self._reason or _describe(code)
        self.ended.set()
        for inbox in self._calls.values():
            inbox.put_nowait(None)

    async def _read_stderr(self) -> None:
        pipe = self._child.stderr
        while pipe is not None and (data := await pipe.read(16_384)):
            for line in data.decode("utf-8", "replace").splitlines():
                self._stderr.append(line)
                _log.debug("%s: %s", self._launch.module, line[:500])

    async def _watch(self) -> None:
        """Kill a child that owes an answer and has been silent for too long."""
        while not self.ended.is_set():
            await self._clock.sleep(self._launch.silence_s / 4)
            if self.busy and self._clock.monotonic() - self._spoke_at > self._launch.silence_s:
                await asyncio.shield(asyncio.create_task(self.kill(f"silent for {self._launch.silence_s:g} s")))
                return

    async def _reap(self) -> None:
        await self._child.wait()
        await self.ended.wait() if self._tasks else None
        here = asyncio.current_task()
        for task in self._tasks:
            if task is not here:
                task.cancel()
        for task in self._tasks:
            if task is not here:
                with suppress(asyncio.CancelledError):
                    await task
        if self._child.stdin is not None:
            self._child.stdin.close()
            with suppress(BrokenPipeError, ConnectionResetError):
                await self._child.stdin.wait_closed()


def _environment(launch: Launch) -> dict[str, str]:
    """A child gets no secrets: only what programs need to run, and what its engine asks for."""
    found = {key: os.environ[key] for key in _PASSED_ON if key in os.environ}
    found |= {
        "PYTHONPATH": str(Path(hearthnet.__file__).resolve().parents[1]),
        "PYTHONUNBUFFERED": "1",
        "OMP_WAIT_POLICY": "passive",
        "GGML_NO_BACKTRACE": "1",
    }
    return found | dict(launch.environment)


def _describe(code: int) -> str:
    if code < 0:
        return f"ended by {signal.Signals(-code).name}"
    return f"ended with code {code}"


def decode(raw: Raw, kind: Any) -> Any:
    """A result as its type."""
    return msgspec.msgpack.decode(raw, type=kind)
