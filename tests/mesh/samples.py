"""A bus in virtual time and services whose handlers do what a test tells them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated

from msgspec import Meta, Struct, json

from hearthnet.adapters.clock_fake import FakeClock
from hearthnet.base.config import BusSection
from hearthnet.base.metrics import Metrics
from hearthnet.base.trace import TraceRing
from hearthnet.base.types import NodeID, TrustLevel
from hearthnet.mesh.bus import CapabilityBus
from hearthnet.mesh.capability import Call, Caller, NoParams, capability

HERE = NodeID("ed25519:" + "A" * 43)
THERE = NodeID("ed25519:" + "B" * 43)
ME = Caller(None, TrustLevel.SELF, "session:1")
NEIGHBOUR = Caller(THERE, TrustLevel.MEMBER, THERE)


class AskParams(Struct, frozen=True, forbid_unknown_fields=True):
    model: str = ""


class AskInput(Struct, frozen=True, forbid_unknown_fields=True):
    query: Annotated[str, Meta(max_length=20)]
    k: Annotated[int, Meta(ge=1, le=20)] = 5


class AskOutput(Struct, frozen=True, forbid_unknown_fields=True):
    text: Annotated[str, Meta(max_length=100)]
    tokens_out: int = 0


class Word(Struct, frozen=True, tag="token", tag_field="event"):
    text: str


class Done(Struct, frozen=True, tag="done", tag_field="event"):
    tokens_in: int = 0
    tokens_out: int = 0


class Failed(Struct, frozen=True, tag="error", tag_field="event"):
    error: str
    message: str = ""


async def _echo(call, params, request):
    return AskOutput(request.query)


async def _two_words(call, params, request):
    yield Word("hello")
    yield Word("there")
    yield Done(tokens_in=3, tokens_out=2)


class Library:
    """`rag.query` and `llm.chat` (a stream); `answer` and `tell` are replaced by a test."""

    def __init__(self) -> None:
        self.answer = _echo
        self.tell = _two_words
        self.calls = []

    @capability("rag.query@1.0", trust=TrustLevel.MEMBER, timeout_s=10, max_concurrent=2)
    async def query(self, call: Call, params: AskParams, request: AskInput) -> AskOutput:
        self.calls.append(call)
        return await self.answer(call, params, request)


class Talker:
    def __init__(self, library: Library) -> None:
        self.library = library

    @capability("llm.chat@1.0", trust=TrustLevel.MEMBER, timeout_s=120, max_concurrent=2)
    def chat(self, call: Call, params: NoParams, request: AskInput) -> AsyncIterator[Word | Done | Failed]:
        return self.library.tell(call, params, request)


class World:
    """One node's bus with both sample services."""

    def __init__(self, config: BusSection | None = None, **limits) -> None:
        self.clock = FakeClock()
        self.traces = TraceRing()
        self.metrics = Metrics()
        self.library = Library()
        self.bus = CapabilityBus(HERE, self.clock, config or BusSection(), self.traces, self.metrics, **limits)
        self.bus.register(self.library)
        self.bus.register(Talker(self.library))

    async def ask(self, text="water", *, caller=ME, name="rag.query@1.0", **options):
        """The text of one reply."""
        body = json.encode({"params": {}, "input": {"query": text}})
        return (await self.bus.handle_call(name, body, caller=caller, **options)).output.text

    def stream(self, *, caller=ME, **options):
        return self.bus.stream("llm.chat@1.0", None, AskInput("hello"), caller=caller, **options)

    def entry(self, name):
        return next(entry for entry in self.bus.entries() if entry.name == name)

    def metric(self, line):
        """The figure of a metric, 0 when it is not there."""
        lines = dict(text.rsplit(" ", 1) for text in self.metrics.render().splitlines() if not text.startswith("#"))
        return float(lines.get(line, 0))

    def results(self):
        """Outcomes of all traced calls, oldest first."""
        return [event.result for event in reversed(self.traces.recent(10_000))]


class Gate:
    """A handler that waits until it is opened, and remembers how it ended."""

    def __init__(self) -> None:
        self.opened = asyncio.Event()
        self.finished = asyncio.Event()
        self.started = 0
        self.ended = []

    async def wait(self):
        self.started += 1
        try:
            await self.opened.wait()
        except asyncio.CancelledError:
            self.ended.append("cancelled")
            raise
        else:
            self.ended.append("done")
        finally:
            self.finished.set()

    async def answer(self, call, params, request):
        await self.wait()
        return AskOutput(request.query)

    async def tell(self, call, params, request):
        yield Word("one")
        await self.wait()
        yield Done()


async def turns(count=10):
    """Let whatever is ready run."""
    for _ in range(count):
        await asyncio.sleep(0)
