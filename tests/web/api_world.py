"""A node's program doors on a real port: the real bus, guard, sessions and routes over services that follow a script."""

from __future__ import annotations

import asyncio
import math
from array import array
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer
from msgspec import Struct

from hearthnet.adapters.clock import SystemClock
from hearthnet.adapters.store_fake import FakeStore
from hearthnet.base.config import Config
from hearthnet.base.errors import BadRequest, CapacityExceeded, NotFound
from hearthnet.base.metrics import Metrics
from hearthnet.base.paths import resolve_paths
from hearthnet.base.trace import TraceRing
from hearthnet.base.types import NodeID, ShortID, TrustLevel
from hearthnet.capabilities.embed import Embed
from hearthnet.mesh.answers import (
    ASSISTANT_MODEL,
    ChatInput,
    ChatParams,
    CompleteInput,
    Done,
    Failed,
    Frame,
    Progress,
    Source,
    Sources,
    Token,
)
from hearthnet.mesh.bus import CapabilityBus
from hearthnet.mesh.capability import Call, NoParams, capability
from hearthnet.mesh.passages import Passage, PassageMetadata, QueryInput, QueryMeta, QueryOutput
from hearthnet.mesh.services import Services
from hearthnet.mesh.supervisor import Supervisor
from hearthnet.ports import EngineStatus, ModelInfo
from hearthnet.web import admin_api, api_page, calls, observe, openai, openapi, session, static_files
from hearthnet.web.app import build_app
from hearthnet.web.door import Door, NodeFacts
from hearthnet.web.i18n import load_texts
from hearthnet.web.session import Sessions

TABLES = (
    admin_api.routes, calls.routes, observe.routes, openai.routes, openapi.routes, api_page.routes, static_files.routes,
)  # fmt: skip
NODE = NodeID("ed25519:" + "A" * 43)
BARE = "tiny-135m"

SOURCES = (
    Source(1, "Generators and fuel", "Only outdoors. Six metres from doors.", "system", "blake3:" + "1" * 64, "T12-en",
           language="en", card_id="T12", authorities=("BBK", "CDC"), date="2026-11"),
    Source(2, "Manual", "It weighs 20 kg.", "personal", "blake3:" + "2" * 64, "m-3", language="en", page=3),
    Source(3, "Nobody cites this", "Words.", "system", "blake3:" + "3" * 64, "T13-en", language="en"),
)  # fmt: skip


class Talker:
    """`llm.*`: the assistant quotes; a bare model says the last message back, word by word, in the asked shape."""

    def __init__(self) -> None:
        self.asked: list[ChatInput | CompleteInput] = []
        self.sessions: list[str] = []
        self.gate = asyncio.Event()
        self.started = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.retry_after_ms = 2500

    @capability("llm.chat@1.0", trust=TrustLevel.MEMBER, timeout_s=120, max_concurrent=8)
    async def chat(self, call: Call, params: ChatParams, request: ChatInput) -> AsyncIterator[Frame]:
        """Frames of an answer."""
        self.asked.append(request)
        self.sessions.append(call.session)
        question = request.messages[-1].content
        if "busy" in question:
            raise CapacityExceeded("all places are taken", retry_after_ms=self.retry_after_ms, fix="ask again")
        if params.model == ASSISTANT_MODEL:
            if request.json_schema:  # as capabilities/llm.py does
                raise BadRequest(
                    "an answer that quotes the library word for word takes no other shape", fix="ask hearthnet/<model>"
                )
            async for frame in self._quote(question):
                yield frame
            return
        self._known(params.model)
        async for frame in self._echo(self._written(request)):
            yield frame

    @capability("llm.complete@1.0", trust=TrustLevel.MEMBER, timeout_s=120, max_concurrent=8)
    async def complete(self, call: Call, params: ChatParams, request: CompleteInput) -> AsyncIterator[Frame]:
        """Frames of a continuation."""
        self.asked.append(request)
        self._known(params.model)
        async for frame in self._echo(f"{request.prompt} and so on"):
            yield frame

    def _known(self, model: str) -> None:
        if model != BARE:
            raise NotFound(f"no model {model!r} here", fix="hearthnet models list")

    def _written(self, request: ChatInput) -> str:
        words = request.messages[-1].content
        if '"lookup"' in request.json_schema and "weather" in words:
            return '{"name":"lookup","arguments":{"city":"Bonn"}}'
        if '"reply"' in request.json_schema:
            return '{"reply":"just words"}'
        if request.json_schema:
            return '{"answer":42}'
        return words

    async def _quote(self, question: str) -> AsyncIterator[Frame]:
        yield Progress("retrieve")
        yield Sources(SOURCES)
        if "mars" in question:
            yield Token("Not in my library.")
            yield Done("end", "not_in_library", BARE, 5, 4, 9)
            return
        yield Token("Only out", cites=(1,), quoted=True)
        yield Token("doors.", cites=(1,), quoted=True)
        if "break" in question:
            yield Failed("partition", "the engine ended")
            return
        yield Token("Six metres from doors.", cites=(1,), quoted=True)
        yield Token("It weighs 20 kg.", cites=(2,), quoted=True)
        yield Done("end", "quoted", BARE, tokens_in=40, tokens_out=12, ms=31, confidence=0.93)

    async def _echo(self, text: str) -> AsyncIterator[Frame]:
        try:
            words = text.split(" ")
            for number, word in enumerate(words):
                yield Token(word if number == 0 else f" {word}")
                if word == "slow":
                    self.started.set()
                    await self.gate.wait()
                if word == "flood":
                    for _ in range(100_000):
                        yield Token("x" * 1000)
            yield Done(
                "max_tokens" if "long" in words else "end", "ungrounded", BARE, tokens_in=7, tokens_out=len(words)
            )
        except (asyncio.CancelledError, GeneratorExit):
            self.cancelled.set()
            raise


class Shelf:
    """`rag.query`, and one capability that fails in any way that is asked for."""

    @capability("rag.query@1.0", trust=TrustLevel.MEMBER, timeout_s=10, max_concurrent=4, idempotent=True)
    async def query(self, call: Call, params: NoParams, request: QueryInput) -> QueryOutput:
        """One passage."""
        if request.query == "fail":
            raise BadRequest("told to fail", fix="ask something else")
        if request.query == "crash":
            raise ZeroDivisionError
        if request.query == "hang":
            await asyncio.Event().wait()
        data = PassageMetadata("blake3:" + "1" * 64, "Title", 0, "T1", 0, "system", 0, 5, "en")
        return QueryOutput((Passage(1, 0.5, "words", data),), QueryMeta("e5", 0.8, "en", "both"))


class Pages(Struct, frozen=True, tag="page", tag_field="event"):
    number: int
    text: str


class Ready(Struct, frozen=True, tag="done", tag_field="event"):
    pages: int


class Reader:
    """A stream that is no answer."""

    @capability("ocr.pdf@1.0", trust=TrustLevel.MEMBER, timeout_s=10, max_concurrent=4)
    async def pages(self, call: Call, params: NoParams, request: NoParams) -> AsyncIterator[Pages | Ready]:
        """Two pages."""
        yield Pages(1, "one")
        yield Pages(2, "zwei")
        yield Ready(2)


class ThreeNumbers(Struct, frozen=True):
    """Vectors that follow from the texts."""

    data: bytes
    dim: int = 3


class Engines:
    """The engines as doors and capabilities see them."""

    async def embed(self, texts, *, query: bool) -> ThreeNumbers:
        numbers = [number for text in texts for number in (float(len(text)), math.pi, 1.0 if query else -0.5)]
        return ThreeNumbers(array("f", numbers).tobytes())

    def models(self) -> list[ModelInfo]:
        return [ModelInfo(BARE, "llama", "small_model", 2048)]

    def status(self) -> list[EngineStatus]:
        return [EngineStatus("llama", "ready")]


class ApiWorld:
    """One node; `url` is where it listens."""

    def __init__(
        self, home: Path, config: Config | None = None, clock: Any = None, services: Any = None, engines: Any = None
    ) -> None:
        self.config = config or Config()
        self.clock = clock or SystemClock()
        self.supervisor = Supervisor()
        self.store = FakeStore(session.MIGRATIONS)
        self.traces, self.metrics = TraceRing(), Metrics()
        self.bus = CapabilityBus(NODE, self.clock, self.config.bus, self.traces, self.metrics)
        self.talker, self.engines = Talker(), engines or Engines()
        self.texts = load_texts()
        paths = resolve_paths({"HEARTHNET_HOME": str(home)})
        parts = Services(
            config=self.config, paths=paths, clock=self.clock, store=self.store, blobs=None, engines=self.engines,
            bus=self.bus, spawn=self.supervisor.spawn, phrase=lambda language, key: self.texts[language](key),
            reader=None, vectors=None,
        )  # fmt: skip
        for service in services if services is not None else (self.talker, Embed, Shelf(), Reader()):
            self.bus.register(service(parts) if isinstance(service, type) else service)
        self.sessions = Sessions(self.store, self.clock)
        self.door = Door(
            facts=NodeFacts(NODE, ShortID("K7QX-2M4P-A3RT-9WZB"), "Kastanie", "K7QX", self.clock.monotonic(), "0.1.0"),
            config=self.config, paths=paths, services=parts, bus=self.bus, sessions=self.sessions,
            traces=self.traces, texts=self.texts, metrics_text=self.metrics.render,
            stop_node=lambda: None, extras={},
        )  # fmt: skip
        self.app: web.Application = build_app(self.door, TABLES)
        self.server = TestServer(self.app, host="127.0.0.1")

    async def start(self) -> None:
        await self.server.start_server()  # it cancels handlers of clients that leave, as the node does

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.port}"

    async def close(self) -> None:
        await self.server.close()
        await self.supervisor.close()
        await self.bus.close()
        await self.store.close()
