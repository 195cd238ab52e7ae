"""The child's side of the pipe: limits itself, loads its engine, serves calls until the pipe closes (M04, M11).

Operations are generators: each `yield` is a point where other calls of the same lane get their turn, where a
cancelled call is dropped, and (when bytes are yielded) a piece of the result. Lanes are threads; a lane takes its
calls in turns, so that a long one does not block a short one. An error that is not a HearthNetError ends the process:
the node starts a new one.
"""

from __future__ import annotations

import ctypes
import os
import queue
import resource
import signal
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, Generator
from contextlib import suppress
from time import monotonic
from typing import Final

import msgspec
from msgspec import Raw, Struct

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
)
from hearthnet.base.errors import HearthNetError, NotFound

Steps = Generator[Raw | None, None, Raw]  # yields parts, returns the result
_BEAT_S: Final = 1.0
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_NO_NEW_PRIVS: Final = 38
_PARENT_LOST: Final = 3


class Limits(Struct, frozen=True):
    """What every engine gets with its options, before anything heavy is imported."""

    parent_pid: int
    memory_bytes: int = 0  # RLIMIT_AS; 0 = none
    nice: int = 5


class Operation(Struct, frozen=True):
    """One thing an engine does: its lane, and the generator that does it."""

    lane: str
    run: Callable[[bytes], Steps]


class Guest(Struct, frozen=True):
    """A loaded engine: what it says of itself and what it does."""

    detail: Raw
    operations: dict[str, Operation]


def serve(load: Callable[[bytes], Guest]) -> None:
    """Run a child process: read `Start`, call `load` with its options, serve calls; returns when the pipe closes."""
    pipe = _Pipe()
    limits, options = msgspec.msgpack.decode(pipe.first(), type=tuple[Limits, Raw])
    _limit_self(limits)
    threading.excepthook = lambda event: _die(event.exc_value)
    try:
        guest = load(bytes(options))
    except HearthNetError as error:
        pipe.send(Failed(0, error.code, error.detail))
        return
    lanes = {name: _Lane(pipe) for name in {operation.lane for operation in guest.operations.values()}}
    pipe.send(Ready(guest.detail))
    for message in pipe.messages():
        if isinstance(message, Call):
            operation = guest.operations.get(message.operation)
            if operation is None:
                pipe.send(Failed(message.number, NotFound.code, f"no operation {message.operation}"))
            else:
                lanes[operation.lane].take(message.number, operation.run(bytes(message.body)))
        elif isinstance(message, Cancel):
            for lane in lanes.values():
                lane.drop(message.number)


class _Pipe:
    """Frames on the descriptors that were standard input and output; prints of libraries go to standard error."""

    def __init__(self) -> None:
        self._input = os.dup(0)
        self._output = os.dup(1)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(2, 1)
        self._reader = FrameReader()
        self._lock = threading.Lock()
        self._pending: deque[Message] = deque()

    def first(self) -> Raw:
        message = next(self.messages(), None)
        if not isinstance(message, Start):
            sys.exit("the pipe closed before the start")
        return message.options

    def messages(self) -> Generator[Message, None, None]:
        while True:
            while self._pending:
                yield self._pending.popleft()
            data = os.read(self._input, 65536)
            if not data:
                return
            self._pending.extend(self._reader.feed(data))

    def send(self, message: Message) -> None:
        frame = memoryview(encode_frame(message))
        with self._lock:
            while frame:
                frame = frame[os.write(self._output, frame) :]


class _Lane:
    """A thread that advances its calls in turns."""

    def __init__(self, pipe: _Pipe) -> None:
        self._pipe = pipe
        self._inbox: queue.SimpleQueue[tuple[int, Steps | None]] = queue.SimpleQueue()
        self._calls: dict[int, Steps] = {}
        self._beat = monotonic()
        threading.Thread(target=self._work, daemon=True).start()

    def take(self, number: int, steps: Steps) -> None:
        self._inbox.put((number, steps))

    def drop(self, number: int) -> None:
        self._inbox.put((number, None))

    def _work(self) -> None:
        while True:
            self._read_inbox()
            for number in tuple(self._calls):
                self._advance(number)
                if not self._inbox.empty():
                    self._read_inbox()

    def _read_inbox(self) -> None:
        while not self._calls or not self._inbox.empty():
            number, steps = self._inbox.get()
            if steps is not None:
                self._calls[number] = steps
            elif number in self._calls:
                self._calls.pop(number).close()

    def _advance(self, number: int) -> None:
        steps = self._calls.get(number)
        if steps is None:
            return
        try:
            part = next(steps)
        except StopIteration as result:
            del self._calls[number]
            self._pipe.send(Done(number, result.value))
        except HearthNetError as error:
            del self._calls[number]
            self._pipe.send(Failed(number, error.code, error.detail))
        else:
            if part is not None:
                self._pipe.send(Part(number, part))
            elif monotonic() - self._beat > _BEAT_S:
                self._beat = monotonic()
                self._pipe.send(Beat(number))


def _limit_self(limits: Limits) -> None:
    """Die with the node, give way to it, be the first to go when memory is short, and never grow past the limit."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if os.getppid() != limits.parent_pid:  # it died before the line above
        os._exit(_PARENT_LOST)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the node, which then closes the pipe
    os.nice(limits.nice)
    if limits.memory_bytes:
        resource.setrlimit(resource.RLIMIT_AS, (limits.memory_bytes, limits.memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _write("/proc/self/oom_score_adj", "500")
    _write("/proc/self/autogroup", str(limits.nice))  # a session of its own is weighed as a group where that is on


def _write(path: str, value: str) -> None:
    """Set a kernel value; a container may have none or refuse, and the other limits still hold."""
    with suppress(OSError), open(path, "w", encoding="ascii") as file:  # noqa: PTH123  no pathlib in a child
        file.write(value)


def _die(error: BaseException | None) -> None:
    traceback.print_exception(error)
    sys.stderr.flush()
    os._exit(1)
