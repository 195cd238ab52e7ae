"""A node's doors over fake services: the real bus, store, sessions, guard, pages."""

from __future__ import annotations

import asyncio
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

from aiohttp import web

from hearthnet.adapters.blobs_fake import FakeBlobs
from hearthnet.adapters.clock import SystemClock
from hearthnet.adapters.readers.fake import FakeReader
from hearthnet.adapters.store_fake import FakeStore
from hearthnet.adapters.vectors_fake import FakeVectors
from hearthnet.base.config import Config
from hearthnet.base.metrics import Metrics
from hearthnet.base.paths import resolve_paths
from hearthnet.base.trace import TraceRing
from hearthnet.base.types import NodeID, ShortID, TrustLevel
from hearthnet.capabilities.rag import Library
from hearthnet.mesh import conversations, library_schema
from hearthnet.mesh.bus import CapabilityBus
from hearthnet.mesh.capability import Caller
from hearthnet.mesh.services import Services
from hearthnet.mesh.supervisor import Supervisor
from hearthnet.web import session
from hearthnet.web.app import build_app
from hearthnet.web.door import Door, NodeFacts
from hearthnet.web.i18n import load_texts
from hearthnet.web.session import Sessions
from hearthnet.web.tables import PAGE_TABLES, PROGRAM_TABLES
from web.fake_services import Assistant, FakeShelf, NoEngines

NODE = NodeID("ed25519:" + "A" * 43)


MIGRATIONS = (*conversations.MIGRATIONS, *session.MIGRATIONS, *library_schema.MIGRATIONS)


@cache
def handbook_image() -> bytes:
    """A database that holds the handbook already; indexing it takes longer than most tests."""

    async def fill(home: str) -> bytes:
        world = World(Path(home), image=b"")
        await world.bus.call("rag.list_corpora@1.0", None, {}, caller=Caller(None, TrustLevel.SELF))
        await world.store.backup(f"{home}/image")
        await world.close()
        return Path(f"{home}/image").read_bytes()

    with ThreadPoolExecutor(1) as pool, tempfile.TemporaryDirectory() as home:  # a loop of its own: ours is running
        return pool.submit(lambda: asyncio.run(fill(home))).result()


class World:
    """One node without engines; `app` serves its pages."""

    def __init__(self, home: Path, config: Config | None = None, clock: Any = None, image: bytes | None = None) -> None:
        self.config = config or Config()
        self.clock = clock or SystemClock()
        self.supervisor = Supervisor()
        self.store = FakeStore(MIGRATIONS, image=handbook_image() if image is None else image)
        self.traces = TraceRing()
        self.bus = CapabilityBus(NODE, self.clock, self.config.bus, self.traces, Metrics())
        self.assistant, self.blobs = Assistant(), FakeBlobs()
        self.texts = load_texts()
        self.paths = resolve_paths({"HEARTHNET_HOME": str(home)})
        self.paths.create()
        self.shelf = FakeShelf()
        services = Services(
            config=self.config, paths=self.paths, clock=self.clock, store=self.store, blobs=self.blobs,
            engines=NoEngines(),
            bus=self.bus, spawn=self.supervisor.spawn, phrase=lambda language, key: self.texts[language](key),
            reader=FakeReader(), vectors=FakeVectors,
        )  # fmt: skip
        for service in (self.assistant, Library(services)):
            self.bus.register(service)
        self.sessions = Sessions(self.store, self.clock)
        self.stopped = 0
        self.door = Door(
            facts=NodeFacts(NODE, ShortID("K7QX-2M4P-A3RT-9WZB"), "Kastanie", "K7QX", self.clock.monotonic(), "0.1.0"),
            config=self.config, paths=self.paths, services=services, bus=self.bus, sessions=self.sessions,
            traces=self.traces, texts=self.texts, metrics_text=lambda: "", stop_node=self._stop,
            extras={"models": self.shelf},
        )  # fmt: skip
        self.app: web.Application = build_app(self.door, (*PAGE_TABLES, *PROGRAM_TABLES))

    def _stop(self) -> None:
        self.stopped += 1

    async def close(self) -> None:
        await self.supervisor.close()
        await self.bus.close()
        await self.store.close()
