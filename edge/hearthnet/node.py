"""The composition root: builds adapters, registers capabilities, starts tasks, stops in reverse (M12)."""

from __future__ import annotations

import asyncio
import logging
import pkgutil
import secrets
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

import hearthnet.capabilities
from hearthnet import __version__
from hearthnet.adapters.blobs_dir import BlobStore
from hearthnet.adapters.store_recovery import Opened, list_backups, make_backup, open_or_recover, read_damaged
from hearthnet.adapters.verify_processes import VerifyProcesses
from hearthnet.base.errors import DiskFull, StoreCorrupt
from hearthnet.base.metrics import Metrics
from hearthnet.base.trace import TraceRing
from hearthnet.base.types import CommunityID, Role
from hearthnet.base.ulid import Ulids
from hearthnet.mesh import conversations, event_rows, invitations, library_schema, proposals, residence
from hearthnet.mesh.bus import CapabilityBus
from hearthnet.mesh.capability import Descriptor, offered_by
from hearthnet.mesh.community_desk import CommunityDesk, Whereabouts, open_desk
from hearthnet.mesh.event_check import check_head
from hearthnet.mesh.event_topics import tell_events
from hearthnet.mesh.events import EventLog, create_community
from hearthnet.mesh.peer_server import MeshServer
from hearthnet.mesh.pubsub import PubSub
from hearthnet.mesh.services import Services
from hearthnet.mesh.snapshots import Snapshots
from hearthnet.mesh.supervisor import Supervisor
from hearthnet.mesh.upkeep import Upkeep
from hearthnet.mesh.views import DocumentsView
from hearthnet.ports import Migration
from hearthnet.web import session
from hearthnet.web.addresses import ANY_HOST, lan_address
from hearthnet.web.door import Door, NodeFacts
from hearthnet.web.i18n import load_texts
from hearthnet.web.serving import Listener
from hearthnet.wire import canonical
from hearthnet.wire.identity import short_id
from hearthnet.wire.manifest import Endpoint, NodeManifest, sign_node_manifest

if TYPE_CHECKING:
    from pathlib import Path

    from aiohttp import web

    from hearthnet.adapters.store_sqlite import SqliteStore
    from hearthnet.ports import Engines, Peer, Probe, Transport
    from hearthnet.startup import Startup
    from hearthnet.wire.identity import KeyPair

log = logging.getLogger(__name__)

BACKUP_EVERY_S = 6 * 3600.0
NODE_MIGRATIONS: tuple[Migration, ...] = (
    *library_schema.MIGRATIONS, *conversations.MIGRATIONS, *session.MIGRATIONS, *residence.MIGRATIONS,
    *proposals.MIGRATIONS, *invitations.MIGRATIONS,
)  # fmt: skip


def capability_classes() -> list[type]:
    """Every class with capabilities in `hearthnet.capabilities`, found by listing the folder."""
    names = [f"hearthnet.capabilities.{found.name}" for found in pkgutil.iter_modules(hearthnet.capabilities.__path__)]
    return [
        value
        for module in map(import_module, names)
        for value in vars(module).values()
        if isinstance(value, type) and value.__module__ == module.__name__ and _declares(value)
    ]


def _declares(kind: type) -> bool:
    return any(hasattr(member, "__capability__") for member in vars(kind).values())


def list_capabilities() -> list[Descriptor]:
    """All declarations, without starting anything; for the reference pages."""
    declared = [item.descriptor for kind in capability_classes() for item in offered_by(object.__new__(kind))]
    return sorted(declared, key=lambda descriptor: descriptor.name)


class Node:
    """One running node behind the listeners of an open `startup`; `start` and `stop` once each, `stop` ends both."""

    def __init__(self, startup: Startup) -> None:
        self.startup = startup
        self.paths = startup.paths
        self.config = startup.config
        self.clock = startup.clock
        self.traces = TraceRing()
        self.metrics = Metrics()
        self.supervisor = Supervisor()
        self.texts = load_texts()
        self.transport_port = 0
        self.admin_path = ""
        self.moved = False  # into another community: the next run begins there
        self._closers: list[tuple[str, Any]] = [("startup", startup.close)]
        self._stores: dict[Path, SqliteStore] = {}
        self._notices: list[str] = []

    async def start(self, *, with_ui: bool = True) -> None:
        """Bring everything up; on a failure what was started is stopped and the error raised."""
        up = False
        try:
            await self._start(with_ui=with_ui)
            up = True
        finally:
            if not up:
                await self.stop()

    async def stop(self) -> None:
        """End tasks, engines, sites and stores, newest first; idempotent."""
        while self._closers:
            name, close = self._closers.pop()
            try:
                result = close()
                if result is not None:
                    await result
            except OSError as error:
                log.warning("closing %s: %s", name, error)

    async def _start(self, *, with_ui: bool) -> None:
        key = self.startup.key
        store, _ = await self._open_store(self.paths.data / "node.sqlite", NODE_MIGRATIONS)
        community = await residence.residence_of(store, CommunityID(key.node_id))
        events = await self._open_log(key, community)
        engines = self._open_engines()
        blobs = BlobStore(
            self.paths.blobs, self.clock, min_free_bytes=self.config.file.min_free_bytes,
            gc_threshold=self.config.file.gc_threshold,
        )  # fmt: skip
        bus = CapabilityBus(key.node_id, self.clock, self.config.bus, self.traces, self.metrics)
        self._keep("bus", bus.close)
        transport = await self._open_transport(key, events)
        services = Services(
            config=self.config, paths=self.paths, clock=self.clock, store=store, blobs=blobs, engines=engines, bus=bus,
            spawn=self.supervisor.spawn, phrase=self._phrase, reader=_make_reader(), vectors=_make_vectors,
            events=events, server=MeshServer(bus, events, self.clock, pubsub=_open_topics(events)),
            transport=transport, community=self._open_desk(key, store, events, transport),
        )  # fmt: skip
        self._keep("tasks", self.supervisor.close)
        door = self._make_door(key, services, bus, session.Sessions(store, self.clock))
        self._watch(bus, events)
        self._keep("pages", self.startup.stop_listening)
        whole = await asyncio.to_thread(_make_pages, door)
        self._register(services, bus, await asyncio.to_thread(capability_classes))
        if self.config.transport.enabled:
            await self._listen_for_nodes(door, key, events)
        # the real ones, also for port 0
        door.extras.update(ui_port=self.startup.ui_port, transport_port=self.transport_port)
        if with_ui:
            self.admin_path = f"/pair/{await door.sessions.open_pairing(Role.ADMIN)}"
        self.startup.admit(whole)
        self.supervisor.spawn("backups", self._back_up(events))
        if services.community is not None:
            self.supervisor.spawn("proposals", services.community.members.run())
        upkeep = Upkeep(self.clock, self._notices)
        upkeep.look(events)
        self.supervisor.spawn("integrity walk", upkeep.check(list(self._stores.values()), events))
        self.supervisor.spawn("retention", upkeep.forget(events))
        log.info("node %s is up on port %s", short_id(key.node_id), self.startup.ui_port)

    def _register(self, services: Services, bus: CapabilityBus, kinds: list[type]) -> None:
        """Offer what the folder of capabilities holds; `/health` says `starting` meanwhile, everything else waits."""
        for kind in kinds:
            service = kind(services)
            bus.register(service)
            if hasattr(service, "start"):
                self.supervisor.spawn(f"start {kind.__name__}", service.start())

    def _keep(self, name: str, close: Any) -> None:
        self._closers.append((name, close))

    def _phrase(self, language: str, key: str) -> str:
        return self.texts[language](key)

    async def _open_store(
        self, path: Path, migrations: tuple[Migration, ...], probe: Probe | None = None
    ) -> tuple[SqliteStore, Opened]:
        path.parent.mkdir(parents=True, exist_ok=True)
        copies = [*list_backups(path), *sorted(self.paths.data.glob("*.zip"))]
        store, opened = await asyncio.to_thread(open_or_recover, path, migrations, copies, probe=probe)
        self._keep(path.name, store.close)
        self._stores[path] = store
        self._say_recovery(opened)
        return store, opened

    def _say_recovery(self, opened: Opened) -> None:
        if opened.outcome != "ready":
            self._notices.append(f"notice.store.{opened.outcome}")
            log.error("database damaged (%s), kept as %s, now %s", opened.damage, opened.set_aside, opened.outcome)

    async def _open_log(self, key: KeyPair, community: CommunityID) -> EventLog:
        folder = self.paths.data / "communities" / community.replace(":", "-")
        store, file = await self._open_store(folder / "events.sqlite", event_rows.EVENTS_SCHEMA, check_head)
        snapshots = Snapshots(folder / "snapshots", key, community)
        events = EventLog(
            store,
            key,
            community,
            self.clock,
            secrets.token_bytes,
            views=[DocumentsView()],
            snapshots=snapshots,
            bulk=VerifyProcesses(),
        )
        await events.open()
        self._keep("event log", events.close)
        if file.set_aside is not None:  # before anything new is signed (decision 29)
            rows = await asyncio.to_thread(read_damaged, file.set_aside, event_rows.SALVAGE)
            saved = await events.recover([row[0] for row in rows])
            log.warning("%s events saved from %s", saved.accepted, file.set_aside.name)
        if community == CommunityID(key.node_id) and not events.members.community_name:  # of one (27)
            await create_community(events, self.startup.name)
        return events

    def _open_desk(self, key: KeyPair, store: SqliteStore, events: EventLog, transport: Transport) -> CommunityDesk:
        rooms = residence.Residences(
            store, self.clock, lambda community: self._open_log(key, community),
            lambda community: self._describe(key, community), self._begin_again,
        )  # fmt: skip
        return open_desk(
            events, key, store, self.clock, transport, rooms,
            Whereabouts(self._neighbours, self._endpoints, self._pages_url),
            name=self.startup.name,
            random_bytes=secrets.token_bytes,
        )  # fmt: skip

    def _describe(self, key: KeyPair, community: CommunityID) -> Any:
        manifest = NodeManifest(
            node_id=key.node_id, display_name=self.startup.name, community_id=community,
            profile=cast("Any", self.config.node.profile), endpoints=tuple(self._endpoints()),
        )  # fmt: skip
        return canonical.decode(sign_node_manifest(key, manifest, self.clock.now()))

    def _begin_again(self) -> None:
        self.moved = True
        asyncio.get_running_loop().call_later(1.0, self.startup.stopping.set)  # the answer leaves first

    def _neighbours(self) -> list[Peer]:
        """Whom proposals are sent to: nobody, as long as this node does not run `mesh.peers`."""
        return []

    def _endpoints(self) -> list[Endpoint]:
        host = self.config.transport.host
        host = lan_address() if host in ANY_HOST else host
        return [Endpoint("https", host, self.transport_port)] if host and self.transport_port else []

    def _pages_url(self) -> str:
        host = self.config.ui.host
        return f"http://{(lan_address() if host in ANY_HOST else host) or '127.0.0.1'}:{self.startup.ui_port}"

    def _open_engines(self) -> Engines:
        opener = import_module("hearthnet.adapters.engines.family")
        engines: Engines = opener.open_engines(self.config, self.paths, self.clock)
        self._keep("engines", engines.close)
        return engines

    def _watch(self, bus: CapabilityBus, events: EventLog) -> None:
        community = (str(events.community),)
        watch = self.metrics.watch
        watch("hearthnet_event_log_lamport_head", lambda: {community: float(events.lamport)})
        watch(
            "hearthnet_capability_health_success_rate",
            lambda: {
                (entry.descriptor.name.name, str(entry.node_id)): entry.health.success_rate for entry in bus.entries()
            },
        )

    def _make_door(self, key: KeyPair, services: Services, bus: CapabilityBus, sessions: session.Sessions) -> Door:
        startup = self.startup
        facts = NodeFacts(
            key.node_id, short_id(key.node_id), startup.name, startup.letters, startup.started_at, __version__,
            self._notices,
        )  # fmt: skip
        folder = import_module("hearthnet.adapters.models_dir").open_models(self.paths)
        models = import_module("hearthnet.adapters.model_shelf").ModelShelf(folder)
        return Door(
            facts=facts, config=self.config, paths=self.paths, services=services, bus=bus, sessions=sessions,
            traces=self.traces, texts=self.texts, metrics_text=self.metrics.render, stop_node=startup.stopping.set,
            extras={"models": models},
        )  # fmt: skip

    async def _open_transport(self, key: KeyPair, events: EventLog) -> Transport:
        new_id = Ulids(self.clock.now, secrets.token_bytes).new
        opener = import_module("hearthnet.adapters.transport_tls")
        folder = self.paths.data / "tls"
        await asyncio.to_thread(import_module("hearthnet.adapters.tls_context").prepare_files, folder, key)
        client: Transport = opener.PeerClient(key, events.community, self.clock, new_id, certificates=folder)
        self._keep("peer client", client.close)
        return client

    async def _listen_for_nodes(self, door: Door, key: KeyPair, events: EventLog) -> None:
        tls_context = import_module("hearthnet.adapters.tls_context")
        bus_api = import_module("hearthnet.web.bus_api")
        tls = await asyncio.to_thread(tls_context.server_context, self.paths.data / "tls", key)
        listener = Listener(bus_api.build_node_app(door, key, events, self.metrics, door.services.server))
        await listener.open()
        self._keep("transport", listener.close)
        section = self.config.transport
        self.transport_port = await listener.listen(section.host, section.port, "transport.port", tls)

    async def _back_up(self, events: EventLog) -> None:
        while True:
            known = all(list_backups(path) for path in self._stores)
            await self.clock.sleep(BACKUP_EVERY_S if known else 60.0)
            try:
                for path, store in self._stores.items():
                    await make_backup(store, path)
                await events.snapshot()
            except DiskFull as error:  # the next round tries again
                log.warning("no backup: %s", error.detail)
            except StoreCorrupt as error:  # the older backups stay; the next start restores one
                log.critical("no backup: %s; %s", error.detail, error.fix)


def _open_topics(events: EventLog) -> PubSub:
    pubsub = PubSub(secrets.token_bytes)
    events.subscribe(tell_events(pubsub))
    return pubsub


def _make_reader() -> Any:
    return import_module("hearthnet.adapters.readers.process").ReaderProcess()


def _make_vectors(dim: int) -> Any:
    return import_module("hearthnet.adapters.vectors_numpy").NumpyVectors(dim)


def _make_pages(door: Door) -> web.Application:
    tables = import_module("hearthnet.web.tables")
    pages: web.Application = import_module("hearthnet.web.app").build_app(
        door, (*tables.PAGE_TABLES, *tables.PROGRAM_TABLES)
    )
    return pages
