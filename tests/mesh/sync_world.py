"""Nodes that sync over the network in memory: real logs, real server, real client; a crash leaves only the disk."""

from __future__ import annotations

import asyncio
import itertools

from blake3 import blake3

from hearthnet.adapters.clock_fake import FakeClock
from hearthnet.adapters.network_fake import FakeNetwork, Link
from hearthnet.adapters.store_fake import FakeStore
from hearthnet.adapters.transport_fake import FakeTransport
from hearthnet.base.config import Config
from hearthnet.base.metrics import Metrics
from hearthnet.base.trace import TraceRing
from hearthnet.mesh.bus import CapabilityBus
from hearthnet.mesh.event_history import Position
from hearthnet.mesh.event_rows import EVENTS_SCHEMA
from hearthnet.mesh.events import EventLog
from hearthnet.mesh.gossip import Gossip
from hearthnet.mesh.peer_server import MeshServer
from hearthnet.mesh.standing import Standing
from hearthnet.mesh.sync_client import SyncClient
from hearthnet.mesh.sync_index import SyncIndex
from hearthnet.mesh.sync_server import EVENTS_PATH, FETCH_PATH, HEADS_PATH, RECONCILE_PATH, SyncServer
from hearthnet.mesh.views import DocumentsView
from hearthnet.ports import Peer
from hearthnet.wire.community import CommunityCreated, CommunityPolicy, MemberInvited, MemberJoined
from hearthnet.wire.identity import KeyPair
from mesh.log_world import ANNA, BERT, COMMUNITY, FOUNDER, Author, document

KEYS = {"founder": FOUNDER, "anna": ANNA, "bert": BERT}
NOW = Link(delay_s=0.0)


def key_named(name):
    return KEYS.get(name) or KeyPair(name.encode().ljust(32, b"."))


class SyncNode:
    """One node; `liar` serves in place of its `SyncServer` when a test needs a partner that breaks the rules."""

    _ids = itertools.count(1)

    def __init__(self, town, name, store=None):
        self.town, self.name, self.key = town, name, key_named(name)
        self.store = store or FakeStore(EVENTS_SCHEMA)
        self.bans = []
        self.results = []

    async def start(self, liar=None):
        town = self.town
        self.documents = DocumentsView()
        self.log = EventLog(self.store, self.key, COMMUNITY, town.clock, bytes, views=[self.documents])
        await self.log.open()
        self.index = SyncIndex(self.store, COMMUNITY)
        self.log.subscribe(self.index.note)
        await self.index.load()
        self.standing = Standing(town.clock, on_ban=lambda *ban: self.bans.append(ban))
        self.sync_server = SyncServer(self.log, self.index, self.standing)
        self.bus = CapabilityBus(self.key.node_id, town.clock, Config().bus, TraceRing(), Metrics())
        server = MeshServer(self.bus, self.log, town.clock)
        serves = liar or self.sync_server
        server.serve(RECONCILE_PATH, serves.reconcile)
        server.serve(FETCH_PATH, serves.fetch)
        server.serve(EVENTS_PATH, serves.receive)
        server.serve(HEADS_PATH, self.sync_server.heads)
        self.transport = FakeTransport(
            town.network, self.key.node_id, COMMUNITY, lambda: f"01HZX3M7Q8{next(self._ids):016}", server
        )
        self.client = SyncClient(self.log, self.index, self.transport, town.clock, self.standing)
        self.gossip = Gossip(
            self.client, lambda: town.peers_of(self), self.standing, town.clock, town.random_bytes,
            on_result=lambda peer, result: self.results.append(result),
        )  # fmt: skip
        return self

    @property
    def peer(self):
        return Peer(self.key.node_id, (self.transport.address,))

    async def crash(self, store=None):
        """Lose the process; `store` puts an older disk in place of its own."""
        await self.transport.close()
        self.log._verifier.close()
        await self.bus.close()
        self.store = store or self.store.crash()
        await self.start()

    async def copy_store(self):
        return FakeStore(EVENTS_SCHEMA, image=self.store._connection.serialize())

    async def sync(self, other):
        return await self.client.sync(other.peer)

    async def write(self, number, title=None):
        return await self.log.append(document(number, title=title))

    async def hashes(self):
        page, _ = await self.log.history.page(Position(), 1_000_000)
        return {sealed.hash for sealed in page}

    async def close(self):
        await self.transport.close()
        await self.bus.close()
        await self.log.close()
        await self.store.close()


class Town:
    """Nodes on one network under one clock; all of them members from the start."""

    def __init__(self, seed=0, link=NOW):
        self.clock = FakeClock()
        self.network = FakeNetwork(self.clock, seed, link)
        self.nodes = {}
        self._draws = itertools.count(seed)

    def random_bytes(self, count):
        return blake3(next(self._draws).to_bytes(8)).digest(count)

    async def settle(self, *names):
        """Found the community and let every named node join; only the founder knows of it at first."""
        self.founder = Author(FOUNDER)
        self.events = [self.founder.seal(CommunityCreated("Our street", COMMUNITY, CommunityPolicy()))]
        self.authors = {"founder": self.founder}
        for name in names:
            if name != "founder":
                self.events += self.join(name)
        wires = [sealed.wire for sealed in self.events]
        for name in names:
            node = self.nodes[name] = await SyncNode(self, name).start()
            receipt = await node.log.receive(wires)
            assert receipt.accepted == len(wires)
        return self

    def join(self, name):
        author = self.authors[name] = Author(key_named(name))
        invitation = self.founder.seal(MemberInvited(author.key.node_id, name, "member", "2030-01-01T00:00:00Z"))
        author.lamport = invitation.event.lamport
        joined = author.seal(MemberJoined(invitation.event.event_id, {}))
        return [invitation, joined]

    def peers_of(self, node):
        return [other.peer for other in self.nodes.values() if other is not node]

    def cut(self, *groups):
        self.network.split(*([self.nodes[name].key.node_id for name in group] for group in groups))

    async def patiently(self, work):
        """Run work that waits for virtual time to pass."""
        task = asyncio.ensure_future(work)
        while not task.done():
            await asyncio.wait({task}, timeout=0.01)
            if not task.done():
                await self.clock.advance(2.0)
        return task.result()

    async def close(self):
        for node in self.nodes.values():
            await node.close()
        self.network.deadlines.close()
        assert self.network.faults == []
